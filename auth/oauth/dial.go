package oauth

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"
)

var errAddress = errors.New("oauth: address is not public")

// transport resolves, checks and dials in one place, so that the address that was checked is the one connected to.
func (f *Fetcher) transport() *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // a proxy would resolve for us and defeat the check
		DialContext:            f.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: f.cfg.RootCAs},
		TLSHandshakeTimeout:    fetchTimeout,
		ResponseHeaderTimeout:  fetchTimeout,
		MaxResponseHeaderBytes: 16 << 10,
		DisableCompression:     true, // the size bound is then a bound on memory too
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    1,
		MaxIdleConns:           16,
		IdleConnTimeout:        10 * time.Second,
	}
}

func (f *Fetcher) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addrs, err := f.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	// One forbidden address among several condemns the name: such a mixture has no honest use.
	for _, addr := range addrs {
		if !Permitted(addr, f.cfg.AllowPrivate) {
			return nil, errAddress
		}
	}
	err = errAddress
	for _, addr := range addrs {
		var conn net.Conn
		if conn, err = f.cfg.Dial(ctx, network, net.JoinHostPort(addr.Unmap().String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (f *Fetcher) addresses(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	return f.cfg.Resolve(ctx, host)
}

// forbidden lists what is not the public internet beyond what netip names itself (IANA special-purpose registries),
// including the IPv6 forms that smuggle an IPv4 address.
func forbidden() []string {
	return []string{
		"0.0.0.0/8",
		"100.64.0.0/10",    // carrier-grade NAT
		"168.63.129.16/32", // Azure's metadata address, public by its number only
		"192.0.0.0/24",
		"192.0.2.0/24",
		"192.88.99.0/24",
		"198.18.0.0/15",
		"198.51.100.0/24",
		"203.0.113.0/24",
		"240.0.0.0/4",
		"::/96",          // IPv4-compatible
		"64:ff9b::/96",   // NAT64
		"64:ff9b:1::/48", // NAT64, local
		"100::/64",
		"2001::/23", // Teredo and other protocol assignments
		"2001:db8::/32",
		"2002::/16", // 6to4
		"fec0::/10",
	}
}

// Permitted reports whether anything may be fetched from, or sent to, the address: key sets here, deliveries
// in exchange. IPv4-mapped addresses are judged as IPv4.
func Permitted(addr netip.Addr, allowPrivate bool) bool {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	if addr.IsLoopback() || addr.IsPrivate() {
		// fd00:ec2::254 is the metadata service of EC2 over IPv6, in private space.
		return allowPrivate && addr != netip.AddrFrom16([16]byte{0: 0xfd, 2: 0x0e, 3: 0xc2, 14: 0x02, 15: 0x54})
	}
	if !addr.IsGlobalUnicast() { // unspecified, link-local, multicast, broadcast
		return false
	}
	for _, text := range forbidden() {
		if prefix, err := netip.ParsePrefix(text); err != nil || prefix.Contains(addr) {
			return false
		}
	}
	return true
}
