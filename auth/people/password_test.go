package people

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestPasswordRoundTrip(t *testing.T) {
	h := NewHasher(2)
	hash, err := h.Hash(t.Context(), "correct horse battery")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%q, %v", hash, err)
	}
	again, err := h.Hash(t.Context(), "correct horse battery")
	if err != nil || again == hash {
		t.Fatalf("two hashes are the same: the salt does not vary; %v", err)
	}
	const weaker = "$argon2id$v=19$m=8192,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$"
	p := phc{cost: cost{memory: 8 << 10, time: 1, threads: 1}, salt: []byte("somesaltsomesalt")}
	if p.key, err = h.derive(t.Context(), p, "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.String(), weaker) {
		t.Fatalf("PHC form %q", p)
	}
	for _, c := range []struct {
		name, hash, password string
		fits, stale          bool
		err                  error
	}{
		{"right", hash, "correct horse battery", true, false, nil},
		{"wrong", hash, "correct horse batterz", false, false, nil},
		{"prefix", hash, "correct horse", false, false, nil},
		{"empty", hash, "", false, false, nil},
		{"longer than may be", hash, strings.Repeat("x", 100_000), false, false, nil},
		{"no account", "", "correct horse battery", false, false, nil},
		{"no account and no password", "", "", false, false, nil},
		{"made cheaper", p.String(), "correct horse battery", true, true, nil},
		{"made cheaper and wrong", p.String(), "nope", false, false, nil},
		{"not a hash", "correct horse battery", "correct horse battery", false, false, ErrHash},
		{"bcrypt", "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "x", false, false, ErrHash},
	} {
		fits, stale, err := h.Verify(t.Context(), c.hash, c.password)
		if fits != c.fits || stale != c.stale || !errors.Is(err, c.err) {
			t.Errorf("%s: fits %v, stale %v, %v", c.name, fits, stale, err)
		}
	}
}

func TestPasswordLength(t *testing.T) {
	for n, ok := range map[int]bool{0: false, 9: false, 10: true, 256: true, 257: false} {
		if err := CheckPassword(strings.Repeat("a", n)); (err == nil) != ok {
			t.Errorf("length %d: %v", n, err)
		}
	}
	one, err := NewPassword()
	two, err2 := NewPassword()
	if errors.Join(err, err2) != nil || one == two || CheckPassword(one) != nil || len(one) != 24 {
		t.Errorf("drawn passwords %q and %q", one, two)
	}
}

// Hashes wait for each other, and give up with whoever waits: memory stays bounded however many sign in.
func TestHashesAreBounded(t *testing.T) {
	h := NewHasher(1)
	h.slots <- struct{}{} // somebody is at it
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := h.Verify(ctx, "", "a password"); !errors.Is(err, ErrBusy) {
			t.Errorf("%v, want ErrBusy", err)
		}
	})
	runtime.Gosched()
	cancel()
	wg.Wait()
	<-h.slots
	if _, err := h.Hash(t.Context(), "a password"); err != nil {
		t.Errorf("after the slot was free again: %v", err)
	}
}

func TestParsePHCRefuses(t *testing.T) {
	const good = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if _, err := parsePHC(good); err != nil {
		t.Fatalf("%v", err)
	}
	for _, bad := range []string{
		"", "$", good + "$", good[1:], " " + good, good + "\n", good + "=", good[:len(good)-1],
		strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=19456", "m=4294967295", 1), strings.Replace(good, "m=19456", "m=019456", 1), strings.Replace(good, "m=19456", "m=1", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "t=2", "t=99", 1), strings.Replace(good, "t=2", "t=-2", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "p=1", "p=256", 1), strings.Replace(good, "p=1", "p=1,x=1", 1),
		strings.Replace(good, "c29tZXNhbHRzb21lc2FsdA", "", 1), strings.Replace(good, "c29tZXNhbHRzb21lc2FsdA", "c2Fs", 1),
		strings.Replace(good, "$AAAA", "$", 1),
	} {
		if p, err := parsePHC(bad); !errors.Is(err, ErrHash) {
			t.Errorf("parsePHC(%q) = %v, %v", bad, p, err)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$")
	f.Add("$argon2id$v=19$m=,t=,p=$$")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePHC(text)
		if err != nil {
			return
		}
		if p.String() != text || len(p.key) != keySize || !p.bounded() {
			t.Fatalf("%q was read as %q", text, p)
		}
	})
}
