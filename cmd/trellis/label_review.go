package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"trellis/auth/access"
	"trellis/auth/people"
	"trellis/fhir"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

func (c *labelCommand) review(*flag.FlagSet) error {
	switch {
	case c.clear != "" && c.keep != "":
		return usageError("--clear and --keep exclude each other")
	case c.clear == "" && c.keep == "":
		return c.withStore(c.listReviews)
	case c.by == "":
		return usageError("--by is required: who says so?")
	case c.file == "":
		return usageError("--config is required: the record is labelled at once, by the deployment's rules")
	case c.as != "" && (c.keep == "" || !slices.Contains([]string{"SUD", "OPIOIDUD", "ETHUD"}, c.as)):
		return usageError("--as goes with --keep and is SUD, OPIOIDUD or ETHUD")
	}
	said, text := store.LabelAnswer{State: store.ReviewCleared}, c.clear
	if c.keep != "" {
		said, text = store.LabelAnswer{State: store.ReviewKept, Outcome: c.as}, c.keep
	}
	ref, ok := fhir.ParseReference(text, "")
	if !ok {
		return usageError("a record is named as Type/id")
	}
	return c.withStore(func(ctx context.Context, s *store.Store) error { return c.settle(ctx, s, ref, said) })
}

func (c *labelCommand) listReviews(ctx context.Context, s *store.Store) error {
	state := store.ReviewOpen
	if c.all {
		state = ""
	}
	list, err := s.LabelReviews(ctx, state, c.limit)
	if err != nil {
		return err
	}
	if c.asJSON {
		return c.print(list)
	}
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "record\tcustodian\trules\tsince\tstate\tby\n")
	for _, r := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Record, r.Custodian, r.Rules, r.At.Format(time.RFC3339), r.Said(), r.Reviewer)
	}
	return tw.Flush()
}

// settle keeps a reviewer's answer, if the account may give one about this record.
func (c *labelCommand) settle(ctx context.Context, s *store.Store, ref fhir.Reference, said store.LabelAnswer) error {
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	ground, err := s.LabelGround(ctx, ref)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no %s", ref)
	}
	if err != nil {
		return err
	}
	user, err := reviewer(ctx, s, c.by, ground.Segment.Custodian, now)
	if err != nil {
		return err
	}
	classifier, err := c.classifier(ctx, s)
	if err != nil {
		return err
	}
	said.Reviewer = user
	detail := map[string]string{"state": said.State, "pack": classifier.Version()}
	if said.Outcome != "" {
		detail["label"] = said.Outcome
	}
	err = s.SettleLabelReview(ctx, classifier, ref, said, func(patients []string) ([]audit.Leaf, error) {
		leaf, err := labelLeaf(audit.Event{Kind: audit.Admin, Interaction: "label review", Outcome: said.State, User: user, Organization: ground.Segment.Custodian, Detail: detail}, now, ref, patients)
		return []audit.Leaf{leaf}, err
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%s has no words that wait for a person", ref)
	}
	if err == nil {
		_, err = fmt.Fprintf(c.stdout, "%s is %s\n", ref, said.State)
	}
	return err
}

// reviewer is the id of an account that may say what a custodian's records are about: its staff, and administrators of the
// deployment.
func reviewer(ctx context.Context, s *store.Store, login, custodian string, now time.Time) (string, error) {
	user, err := s.UserByLogin(ctx, people.FoldLogin(login))
	if errors.Is(err, store.ErrNotFound) {
		return "", fmt.Errorf("no account %q", login)
	}
	if err != nil {
		return "", err
	}
	if mayReview(user, custodian, now) {
		return user.ID, nil
	}
	return "", fmt.Errorf("%s is neither staff of the record's custodian nor an administrator of the deployment", login)
}

// mayReview reports whether an account is staff of the custodian or an administrator.
func mayReview(user people.User, custodian string, now time.Time) bool {
	if user.Disabled {
		return false
	}
	if slices.Contains(user.Roles, people.Administrator) {
		return true
	}
	return slices.ContainsFunc(user.Actings(now), func(a people.Acting) bool {
		return a.Capacity == access.Staff && a.Organization != "" && a.Organization == custodian
	})
}
