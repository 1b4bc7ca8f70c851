package people

import (
	"bytes"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"image/png"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

// Second factors are time-based codes (RFC 6238): six digits, 30 seconds, HMAC-SHA-1, which is what every authenticator
// app does. A code is good in its own step and in the one before and after.
const stepLength = 30 * time.Second

// NewTOTP draws the secret of a second factor, in base32.
func NewTOTP() (string, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "trellis", AccountName: "new"})
	if err != nil {
		return "", fmt.Errorf("people: drawing a secret: %w", err)
	}
	return key.Secret(), nil
}

// TOTPStep reports whether a code is good at an instant, and of which step it is. A step may be used once: the caller
// remembers the last one. Blanks in the code are left out, as people type them.
func TOTPStep(secret, code string, now time.Time) (step int64, ok bool) {
	code = strings.Join(strings.Fields(code), "")
	for _, away := range []int64{0, -1, 1} {
		at := now.Unix()/int64(stepLength.Seconds()) + away
		want, err := hotp.GenerateCode(secret, uint64(at))
		if err == nil && secret != "" && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = at, true
		}
	}
	return step, ok
}

// TOTPCode is the code of an instant.
func TOTPCode(secret string, now time.Time) (string, error) {
	code, err := totp.GenerateCode(secret, now)
	if err != nil {
		return "", fmt.Errorf("people: the secret of the second factor cannot be read: %w", err)
	}
	return code, nil
}

// TOTPAddress is the otpauth address an authenticator app takes.
func TOTPAddress(secret, issuer, login string) (string, error) {
	key, err := totpKey(secret, issuer, login)
	if err != nil {
		return "", err
	}
	return key.URL(), nil
}

// TOTPImage is that address as a QR code in PNG.
func TOTPImage(secret, issuer, login string) ([]byte, error) {
	key, err := totpKey(secret, issuer, login)
	if err != nil {
		return nil, err
	}
	img, err := key.Image(264, 264)
	if err != nil {
		return nil, fmt.Errorf("people: drawing a QR code: %w", err)
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, fmt.Errorf("people: drawing a QR code: %w", err)
	}
	return out.Bytes(), nil
}

func totpKey(secret, issuer, login string) (*otp.Key, error) {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		return nil, fmt.Errorf("people: the secret of the second factor cannot be read: %w", err)
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: login, Secret: raw})
	if err != nil {
		return nil, fmt.Errorf("people: an otpauth address: %w", err)
	}
	return key, nil
}
