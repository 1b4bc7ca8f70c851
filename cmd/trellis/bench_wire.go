package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"trellis/auth/access"
	"trellis/auth/label"
	"trellis/auth/oauth"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/intake"
	"trellis/gateway/profiles"
	"trellis/gateway/release"
	"trellis/gateway/rest"
	"trellis/gateway/store"
	"trellis/gateway/telemetry"
	"trellis/gateway/terminology"
	"trellis/mapping"
)

// The wiring of `trellis bench`. What is measured as Trellis is what `trellis serve` runs. Consent off and
// audit off exist in this file alone: no configuration of the product leads here.

// site is a running gateway with the addresses of its variants.
type site struct {
	*gateway
	address    string // of the product
	auditOff   string
	consentOn  string // the search handler below, twice
	consentOff string
	checker    *oauth.Server     // checks tokens as the gateway's own does
	tokens     map[string]string // by client
	keys       map[string][]byte // private, by client
	servers    []*http.Server
	cancel     context.CancelFunc
	done       chan error
}

// startSite assembles a gateway on a location and serves it on loopback, audit sequencer and all.
func startSite(ctx context.Context, where location) (*site, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	g, err := assemble(ctx, deployment{
		config:   config{PublicURL: "http://" + address, AllowPrivate: true, Posture: benchPosture(), Organizations: benchOrganizations()},
		location: where, logger: telemetry.NewLogger(io.Discard),
	})
	if err != nil {
		return nil, err
	}
	s := &site{gateway: g, address: address, tokens: map[string]string{}, keys: map[string][]byte{}, done: make(chan error, 1)}
	if err := s.register(ctx); err != nil {
		return nil, errors.Join(err, g.close())
	}
	running, cancel := context.WithCancel(ctx)
	s.cancel = cancel
	ready := make(chan struct{})
	go func() {
		s.done <- g.run(running, address, func(net.Addr) error { close(ready); return nil })
	}()
	select {
	case <-ready:
		return s, nil
	case err := <-s.done:
		cancel()
		return nil, errors.Join(err, g.close())
	}
}

func benchPosture() posture {
	return posture{BusinessAssociateOf: []string{benchHospital}, QSOAWith: []string{benchOTP}}
}

// freeAddress is a loopback address nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *site) register(ctx context.Context) error {
	for _, id := range []string{benchHospital, benchReader} {
		private, public, err := oauth.NewKey(id)
		if err != nil {
			return err
		}
		s.keys[id] = private
		record := store.ClientRecord{OAuth: oauth.Client{ID: id, Name: id, Organization: id, JWKS: public, Scopes: []string{"system/*.cruds"}, Purposes: []string{"TREAT"}, DefaultPurpose: "TREAT"}}
		if err := s.store.PutClient(ctx, record); err != nil {
			return err
		}
	}
	return s.store.MaterializeAll(ctx)
}

// renew gets every client a fresh token: they live five minutes, a phase lives less.
func (s *site) renew(ctx context.Context) error {
	for id, key := range s.keys {
		source := &oauth.TokenSource{HTTP: &http.Client{Timeout: 30 * time.Second}, TokenURL: s.tokenURL, ClientID: id, Key: key, Purpose: "TREAT", Now: time.Now}
		token, err := source.Token(ctx, "system/*.cruds")
		if err != nil {
			return err
		}
		s.tokens[id] = token
	}
	return nil
}

// serve answers on a new loopback address until the site closes.
func (s *site) serve(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	s.servers = append(s.servers, server)
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("bench server", "error", err)
		}
	}()
	return l.Addr().String(), nil
}

func (s *site) close() error {
	var err error
	for _, server := range s.servers {
		err = errors.Join(err, server.Close())
	}
	s.cancel()
	if stop := <-s.done; stop != nil {
		err = errors.Join(err, fmt.Errorf("stopping the gateway, which numbers its last audit leaves: %w", stop))
	}
	return errors.Join(err, s.gateway.close())
}

// variants serves what has consent or audit off, and its counterpart.
func (s *site) variants(ctx context.Context) error {
	secret, err := s.store.Secret(ctx, "oauth")
	if err != nil {
		return err
	}
	tokens, err := oauth.New(oauth.Config{TokenURL: s.tokenURL, Secret: secret, Store: s.store.OAuth(), Keys: oauth.NewFetcher(oauth.FetcherConfig{Now: time.Now}),
		KnownType: fhir.KnownType, Now: time.Now, Log: s.logger})
	if err != nil {
		return err
	}
	s.checker = tokens
	silent, err := s.withoutAudit(tokens)
	if err != nil {
		return err
	}
	org, err := s.store.Organization(ctx, benchReader)
	if err != nil {
		return err
	}
	segments, err := s.store.Segments(ctx)
	if err != nil {
		return err
	}
	reader := access.Principal{Client: benchReader, Organization: org, Purpose: "TREAT"}
	filter, err := s.store.Filter(ctx, reader)
	if err != nil {
		return err
	}
	on := &plainSearch{site: s, tokens: tokens, principal: reader, filter: filter,
		gate: &release.Gate{Records: s.store, Log: s.store.Audit(), Base: s.base, Logger: s.logger}}
	off := &plainSearch{site: s, tokens: tokens, principal: reader, filter: access.Filter{Organization: org.ID, Purpose: "TREAT"},
		gate: &release.Gate{Records: ownRecords{s.store, org.ID}, Log: s.store.Audit(), Base: s.base, Logger: s.logger}}
	for _, segment := range segments {
		off.filter.Own = append(off.filter.Own, segment.No)
	}
	for _, v := range []struct {
		to *string
		h  http.Handler
	}{{&s.auditOff, silent}, {&s.consentOn, on}, {&s.consentOff, off}} {
		if *v.to, err = s.serve(v.h); err != nil {
			return err
		}
	}
	return nil
}

// withoutAudit is the product's REST edge over a log that keeps nothing.
func (s *site) withoutAudit(tokens *oauth.Server) (http.Handler, error) {
	namespace := uuid.NewHash(sha256.New(), uuid.Nil, []byte("bench"), 5)
	packs, err := mapping.LoadAll(mapping.Packs())
	if err != nil {
		return nil, err
	}
	desk := intake.New(intake.Config{Packs: packs, Parser: s.parser, Labels: s.labels, Store: s.store, Namespace: namespace})
	cursors, err := rest.NewCursors(make([]byte, 32), time.Now)
	if err != nil {
		return nil, err
	}
	terms := terminology.New(s.store, packs)
	server := &rest.Server{Terminology: terms, Profiles: profiles.New(s.store, terms), Base: s.base, Store: s.store, OAuth: tokens, Intake: desk, Parser: s.parser, Registry: s.registry, Labels: s.labels, Cursors: cursors, Logger: s.logger,
		Gate: &release.Gate{Records: s.store, Log: discardLog{}, Base: s.base, Logger: s.logger}}
	return server.Handler()
}

// discardLog is the audit log of a measurement with audit off.
type discardLog struct{}

func (discardLog) Append(context.Context, ...audit.Leaf) error { return nil }

// ownRecords shows every record as the reader's own: nobody's consent is asked.
type ownRecords struct {
	*store.Store
	organization string
}

func (o ownRecords) Segment(no int64) label.Segment {
	s := o.Store.Segment(no)
	s.Custodian, s.CounselingNote = o.organization, false
	return s
}

// plainSearch is the product's search without its router, so that a filter can be put in: token, query,
// store, gate, answer. Both sides of "consent off" run it.
type plainSearch struct {
	site      *site
	tokens    *oauth.Server
	principal access.Principal
	filter    access.Filter
	gate      *release.Gate
}

func (p *plainSearch) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := p.search(r)
	if err != nil {
		p.site.logger.ErrorContext(r.Context(), "bench search", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", fhir.ContentType)
	if _, err := w.Write(body); err != nil {
		return // the client went away; its own error count tells
	}
}

func (p *plainSearch) search(r *http.Request) ([]byte, error) {
	grant, err := p.tokens.Authenticate(r)
	if err != nil {
		return nil, err
	}
	q, err := p.site.registry.Parse(strings.TrimPrefix(r.URL.Path, "/fhir/"), r.URL.Query(), p.site.base)
	if err != nil {
		return nil, err
	}
	page, err := p.site.store.Search(r.Context(), p.filter, q, nil)
	if err != nil {
		return nil, err
	}
	released, err := p.gate.Bundle(r.Context(), release.Request{Principal: p.principal, Filter: p.filter, Interaction: "search-type", RequestID: uuid.NewString(), TokenID: grant.TokenID, Query: []byte(r.URL.RawQuery)},
		release.Set{Type: "searchset", Rows: page.Rows})
	if err != nil {
		return nil, err
	}
	return released.Body(), nil
}
