package brake

import (
	"fmt"
	"testing"
	"time"
)

func TestBrakes(t *testing.T) {
	now := time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)
	b := Brakes{PerSecond: 2, AtOnce: 3}
	for i := range 3 {
		if !b.Open("a", now) || !b.Allow("a", now) {
			t.Fatalf("request %d was stopped", i)
		}
	}
	if b.Open("a", now) || b.Allow("a", now) {
		t.Error("the fourth at once went through")
	}
	if !b.Allow("b", now) {
		t.Error("another address was stopped")
	}
	if now = now.Add(time.Second); !b.Allow("a", now) || !b.Allow("a", now) || b.Allow("a", now) {
		t.Error("a second later two, and no third, go through")
	}
	for i := range maxAddresses + 1 {
		b.Allow(fmt.Sprint(i), now)
	}
	if len(b.m) > maxAddresses {
		t.Errorf("%d addresses are remembered", len(b.m))
	}
}

func TestAddress(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "2001:db8:1:2::9": "2001:db8:1:2::/64",
		"fe80::1%eth0": "fe80::/64", "nonsense": "unknown", "": "unknown",
	} {
		if got := Address(ip); got != want {
			t.Errorf("%s counts as %s, want %s", ip, got, want)
		}
	}
}
