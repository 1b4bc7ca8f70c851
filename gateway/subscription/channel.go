package subscription

import (
	"net"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"trellis/auth/oauth"
	"trellis/fhir"
	"trellis/gateway/store"
)

// channel reads how a subscriber is told. No problem repeats a header or an endpoint: they are secrets of the subscriber's.
func (r Rules) channel(channel fhir.Node, out *store.Subscription) error {
	if channel.Get("type").Text() != "rest-hook" || len(channel.Path("_type", "extension").List()) > 0 {
		return refused("not-supported", "the channel's type is rest-hook; no other is offered").At("Subscription.channel.type")
	}
	if err := r.endpoint(channel.Get("endpoint").Text()); err != nil {
		return err
	}
	out.Endpoint = channel.Get("endpoint").Text()
	var err error
	if out.Header, err = headers(channel.Get("header").List()); err != nil {
		return err
	}
	if out.Bare, err = bare(channel); err != nil {
		return err
	}
	return times(channel, out)
}

// endpoint refuses what nothing may be sent to. Names are resolved, and addresses asked about once more, when a request
// goes out.
func (r Rules) endpoint(text string) error {
	fault := func(text string) error { return refused("value", text).At("Subscription.channel.endpoint") }
	u, err := url.Parse(text)
	if err != nil || len(text) > maxEndpoint || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fault("the endpoint is an absolute URL without user and fragment")
	}
	addr, err := netip.ParseAddr(u.Hostname())
	isLoopback := u.Hostname() == "localhost" || err == nil && net.IP(addr.AsSlice()).IsLoopback()
	switch {
	case u.Scheme != "https" && !(u.Scheme == "http" && r.AllowPrivate && isLoopback):
		return fault("the endpoint is an https URL")
	case err == nil && !oauth.Permitted(addr, r.AllowPrivate), isLoopback && !r.AllowPrivate:
		return fault("the endpoint's address is not one this server sends to")
	}
	return nil
}

// ours are headers of the request that are not the subscriber's to set.
func ours() []string {
	return []string{"Host", "Content-Length", "Content-Type", "Content-Encoding", "Transfer-Encoding", "Connection", "Te", "Trailer", "Upgrade", "Expect", "X-Part2-Notice"}
}

func headers(list []fhir.Node) (map[string]string, error) {
	fault := func(text string) error { return refused("value", text).At("Subscription.channel.header") }
	if len(list) > maxHeaders {
		return nil, fault("there are more headers than this server sends")
	}
	out := map[string]string{}
	for _, n := range list {
		name, value, ok := strings.Cut(n.Text(), ":")
		value = strings.TrimSpace(value)
		if !ok || len(n.Text()) > maxHeader || !isToken(name) || strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			return nil, fault("a header is a name, a colon and a value")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if slices.Contains(ours(), name) {
			return nil, fault("a header is not the subscriber's to set")
		}
		if _, twice := out[name]; twice {
			return nil, fault("a header stands there twice")
		}
		out[name] = value
	}
	return out, nil
}

// isToken reports whether a text is a header's name (RFC 9110 5.6.2).
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// bare reads the payload: JSON, with records named (id-only) or not (empty).
func bare(channel fhir.Node) (bool, error) {
	fault := func(code, text string) error { return refused(code, text).At("Subscription.channel.payload") }
	switch channel.Get("payload").Text() {
	case "application/fhir+json", "application/json":
	default:
		return false, fault("not-supported", "the payload is application/fhir+json")
	}
	content := ""
	for _, e := range channel.Path("_payload", "extension").List() {
		if e.Get("url").Text() != extPayload || content != "" {
			return false, fault("extension", "the payload has one extension, backport-payload-content")
		}
		content = e.Get("valueCode").Text()
	}
	switch content {
	case "empty", "id-only":
		return content == "empty", nil
	case "full-resource":
		return false, fault("not-supported", "records are not sent in notifications: ask for id-only and read them, so that consent is asked about each read and the 42 CFR 2.32 notice comes with it")
	}
	return false, fault("required", "the extension backport-payload-content says empty or id-only")
}

// times reads the periods of the channel. One event goes out at a time, so that no count of them can be too small.
func times(channel fhir.Node, out *store.Subscription) error {
	out.Timeout = defaultTimeout
	for _, e := range channel.Get("extension").List() {
		var into *time.Duration
		least, most := time.Second, maxTimeout
		switch e.Get("url").Text() {
		case extHeartbeat:
			into, least, most = &out.Heartbeat, minHeartbeat, maxHeartbeat
		case extTimeout:
			into = &out.Timeout
		case extMaxCount:
			continue
		default:
			return refused("extension", "the channel has an extension this server does not serve").At("Subscription.channel.extension")
		}
		value := e.Get("valueUnsignedInt").Text()
		n, err := strconv.ParseInt(value, 10, 32)
		d := time.Duration(n) * time.Second
		if err != nil || d < least || d > most {
			return refused("value", "a heartbeat period is 10 seconds to 7 days, a timeout 1 to 60 seconds").At("Subscription.channel.extension")
		}
		*into = d
	}
	return nil
}
