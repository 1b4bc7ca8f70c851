package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"golang.org/x/term"

	"trellis/auth/access"
	"trellis/auth/people"
	"trellis/gateway/audit"
	"trellis/gateway/store"
)

const userHelp = `trellis user: the people who may sign in

Usage:
  trellis user add      --login LOGIN --name NAME [--language en|es] [LINK...] [--password-file FILE]
  trellis user link     --login LOGIN LINK...
  trellis user unlink   --login LOGIN LINK...
  trellis user list
  trellis user show     --login LOGIN
  trellis user password --login LOGIN [--password-file FILE]
  trellis user totp     --login LOGIN [--remove]
  trellis user code     --login LOGIN
  trellis user disable  --login LOGIN
  trellis user enable   --login LOGIN
Each takes [--data DIR | --postgres DSN].

A link says what a person is, and each may be given several times:
  --patient ID           the person's own record: each organisation may keep one
  --proxy   Patient=ID,authority=proxy|representative,document=TEXT[,relatedPerson=ID][,from=DATE][,to=DATE]
                         somebody whose record the person may act in, and the document that says so
  --staff   org=ID,practitioner=ID[,role=ID][,kind=practitioner|peer-worker]
                         a position in an organisation
  --role    auditor|administrator
  --upstream "ISSUER SUBJECT"
                         who the person is at the OpenID provider of the configuration's upstream_login
To unlink, the patient, the organisation or the role is enough.

A password has 10 to 256 characters. It is read from the first line of FILE, "-" for standard input; without
--password-file one is made and printed, once. Staff sign in with a second factor and set it up at their first sign-in;
"totp" makes it here instead and prints it, "totp --remove" lets them set up another, "code" prints the code of this moment.
Changing either ends the person's sessions. What somebody let apps do ends for good with "disable", with another password,
and with the link it rests on.

Examples:
  trellis user add --login maya@example.org --name "Maya Okafor" --patient 3f1c... --language es
  trellis user add --login pat --name "Pat Nguyen" --proxy "Patient=9a2e...,authority=representative,document=birth certificate 12-345,to=2027-08-11"
  trellis user add --login nora --name "Nora Clinician" --staff org=hospital,practitioner=dr-17
  trellis user password --login maya@example.org --password-file -
  trellis user unlink --login pat --proxy Patient=9a2e...
`

func runUser(args []string, stdout, stderr io.Writer) int {
	u := userCommand{stdin: os.Stdin, stdout: stdout}
	if len(args) > 0 {
		u.verb = args[0]
	}
	return tool{"user", userHelp, u.flags, map[string]func(context.Context, *store.Store) error{
		"add": u.add, "link": u.change((*userCommand).link), "unlink": u.change((*userCommand).unlink), "list": u.list, "show": u.show,
		"password": u.change((*userCommand).setPassword), "totp": u.change((*userCommand).setTOTP), "code": u.code,
		"disable": u.change(func(_ *userCommand, _ context.Context, _ *store.Store, who *people.User) error {
			who.Disabled = true
			who.Epoch++ // turned on again, it begins anew
			return nil
		}),
		"enable": u.change(func(_ *userCommand, _ context.Context, _ *store.Store, who *people.User) error {
			who.Disabled = false
			return nil
		}),
	}}.run(args, stdout, stderr)
}

// userCommand is what `trellis user` was asked for.
type userCommand struct {
	verb                            string
	login, name, language, password string
	upstream                        string
	patients, proxies, staff, roles []string
	remove                          bool
	stdin                           io.Reader
	stdout                          io.Writer
}

func (c *userCommand) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.login, "login", "", "")
	fs.StringVar(&c.name, "name", "", "")
	fs.StringVar(&c.language, "language", "", "")
	fs.StringVar(&c.password, "password-file", "", "")
	fs.StringVar(&c.upstream, "upstream", "", "")
	fs.BoolVar(&c.remove, "remove", false, "")
	for name, list := range map[string]*[]string{"patient": &c.patients, "proxy": &c.proxies, "staff": &c.staff, "role": &c.roles} {
		fs.Func(name, "", func(value string) error { *list = append(*list, value); return nil })
	}
}

func (c *userCommand) add(ctx context.Context, s *store.Store) error {
	if c.login == "" || c.name == "" {
		return errors.New("--login and --name are required")
	}
	_, err := s.UserByLogin(ctx, people.FoldLogin(c.login))
	if err == nil {
		return fmt.Errorf("--login: there is an account %q; change it with `trellis user link`", people.FoldLogin(c.login))
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	who := people.User{ID: uuid.NewString(), Login: people.FoldLogin(c.login), Name: c.name, Language: c.language}
	if err := c.link(ctx, s, &who); err != nil {
		return err
	}
	if err := who.Check(); err != nil { // before a password is drawn and shown
		return err
	}
	if err := c.setPassword(ctx, s, &who); err != nil {
		return err
	}
	return c.keep(ctx, s, who, func() error { return s.PutUser(ctx, who) })
}

// change is a subcommand that changes an account.
func (c *userCommand) change(how func(*userCommand, context.Context, *store.Store, *people.User) error) func(context.Context, *store.Store) error {
	return func(ctx context.Context, s *store.Store) error {
		who, err := c.find(ctx, s)
		if err != nil {
			return err
		}
		before, err := c.find(ctx, s)
		if err != nil {
			return err
		}
		if err := how(c, ctx, s, &who); err != nil {
			return err
		}
		return c.keep(ctx, s, who, func() error {
			err := s.ChangeUser(ctx, who.ID, func(now *people.User) error {
				if !reflect.DeepEqual(*now, before) {
					return errors.New("the account was changed meanwhile; try again")
				}
				*now = who
				return nil
			})
			if err == nil {
				err = endGrants(ctx, s, who, c.verb)
			}
			return err
		})
	}
}

func (c *userCommand) find(ctx context.Context, s *store.Store) (people.User, error) {
	if c.login == "" {
		return people.User{}, errors.New("--login is required")
	}
	who, err := s.UserByLogin(ctx, people.FoldLogin(c.login))
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("--login: there is no account %q", people.FoldLogin(c.login))
	}
	return who, err
}

// endGrants takes back for good what apps had through the account: all of it when the account is turned off or gets another
// password, and otherwise what it may no longer give.
func endGrants(ctx context.Context, s *store.Store, who people.User, verb string) error {
	now, err := s.Now(ctx)
	if err != nil {
		return err
	}
	kept := s.OAuth()
	list, err := kept.Authorizations(ctx, who.ID, now)
	if err != nil {
		return err
	}
	for _, a := range list {
		stands, err := standing(ctx, s, a.Context, now)
		if err != nil {
			return err
		}
		if stands && verb != "disable" && verb != "password" {
			continue
		}
		if err := kept.RevokeAuthorization(ctx, a.ID, now); err != nil {
			return err
		}
	}
	return nil
}

// events say what an account was made to be: who gave whom access to whose record has to be found in the log.
func (c *userCommand) events(who people.User) []audit.Event {
	base := audit.Event{Kind: audit.Admin, At: time.Now(), Client: "cli", User: who.ID, Purpose: "HSYSADMIN", Interaction: "user " + c.verb, Outcome: "ok"}
	out := []audit.Event{base}
	link := func(organization, patient string, detail map[string]string) {
		e := base
		e.Organization, e.Detail = organization, detail
		if patient != "" {
			e.Patient = "Patient/" + strings.TrimPrefix(patient, "Patient/")
		}
		out = append(out, e)
	}
	for _, id := range c.patients {
		link("", id, map[string]string{"link": "patient"})
	}
	for _, text := range c.proxies {
		p := pairs(text)
		link("", p["Patient"], map[string]string{"link": "proxy", "authority": p["authority"], "document": p["document"]})
	}
	for _, text := range c.staff {
		link(pairs(text)["org"], "", map[string]string{"link": "staff", "practitioner": pairs(text)["practitioner"]})
	}
	for _, role := range c.roles {
		link("", "", map[string]string{"link": "role", "role": role})
	}
	return out
}

// keep writes an account, and into the audit log that it was written.
func (c *userCommand) keep(ctx context.Context, s *store.Store, who people.User, write func() error) error {
	if err := who.Check(); err != nil {
		return err
	}
	leaf, err := audit.NewLeaf(c.events(who)...)
	if err != nil {
		return err
	}
	if err := s.Audit().Append(ctx, leaf); err != nil {
		return err
	}
	return write()
}

// link adds what the person is.
func (c *userCommand) link(ctx context.Context, s *store.Store, who *people.User) error {
	if c.verb == "link" && len(c.patients)+len(c.proxies)+len(c.staff)+len(c.roles)+len(c.upstream) == 0 {
		return errors.New("one of --patient, --proxy, --staff, --role and --upstream is required")
	}
	if err := c.linkUpstream(ctx, s, who); err != nil {
		return err
	}
	for _, text := range c.patients {
		id := strings.TrimPrefix(text, "Patient/")
		if err := known(ctx, s, "--patient", "Patient", id); err != nil {
			return err
		}
		if !slices.Contains(who.Patients, id) {
			who.Patients = append(who.Patients, id)
		}
	}
	for _, text := range c.proxies {
		p, err := readProxy(text)
		p.Patient = strings.TrimPrefix(p.Patient, "Patient/")
		if err == nil {
			err = known(ctx, s, "--proxy", "Patient", p.Patient)
		}
		if err != nil {
			return err
		}
		who.Proxies = append(slices.DeleteFunc(who.Proxies, func(have people.Proxy) bool { return have.Patient == p.Patient }), p)
	}
	for _, text := range c.staff {
		p, err := readPosition(text)
		if err != nil {
			return err
		}
		p.Practitioner = strings.TrimPrefix(p.Practitioner, "Practitioner/")
		org, err := s.Organization(ctx, p.Organization)
		if err != nil {
			return err
		}
		if org.ID == "" {
			return fmt.Errorf("--staff: no organisation %q is registered", p.Organization)
		}
		if err := known(ctx, s, "--staff", "Practitioner", p.Practitioner); err != nil {
			return err
		}
		who.Positions = append(slices.DeleteFunc(who.Positions, func(have people.Position) bool { return have.Organization == p.Organization }), p)
	}
	for _, r := range c.roles {
		if !slices.Contains(who.Roles, people.Role(r)) {
			who.Roles = append(who.Roles, people.Role(r))
		}
	}
	return nil
}

// linkUpstream says who the person is elsewhere: one account there is one account here.
func (c *userCommand) linkUpstream(ctx context.Context, s *store.Store, who *people.User) error {
	if c.upstream == "" {
		return nil
	}
	if len(strings.Fields(c.upstream)) != 2 {
		return errors.New("--upstream: give issuer and subject, with a blank between them")
	}
	other, err := s.UserByUpstream(ctx, c.upstream)
	if err == nil && other.ID != who.ID {
		return fmt.Errorf("--upstream: that is %q already", other.Login)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	who.Upstream = c.upstream
	return nil
}

// known refuses an id nothing has: a mistyped one might become somebody else's.
func known(ctx context.Context, s *store.Store, flag, typ, id string) error {
	t, err := s.Lookup(ctx, access.Filter{}, typ, id, 0)
	if err == nil && (!t.Exists || t.Row.Deleted) {
		err = fmt.Errorf("%s: there is no %s with the id %q", flag, typ, id)
	}
	return err
}

// unlink takes away what the person is no more.
func (c *userCommand) unlink(_ context.Context, _ *store.Store, who *people.User) error {
	before := len(who.Patients) + len(who.Proxies) + len(who.Positions) + len(who.Roles) + len(who.Upstream)
	if who.Upstream == c.upstream {
		who.Upstream = ""
	}
	for _, text := range c.patients {
		id := strings.TrimPrefix(text, "Patient/")
		who.Patients = slices.DeleteFunc(who.Patients, func(have string) bool { return have == id })
	}
	for _, text := range c.proxies {
		id := strings.TrimPrefix(pairs(text)["Patient"], "Patient/")
		who.Proxies = slices.DeleteFunc(who.Proxies, func(have people.Proxy) bool { return have.Patient == id })
	}
	for _, text := range c.staff {
		org := pairs(text)["org"]
		who.Positions = slices.DeleteFunc(who.Positions, func(have people.Position) bool { return have.Organization == org })
	}
	for _, r := range c.roles {
		who.Roles = slices.DeleteFunc(who.Roles, func(have people.Role) bool { return string(have) == r })
	}
	if before == len(who.Patients)+len(who.Proxies)+len(who.Positions)+len(who.Roles)+len(who.Upstream) {
		return errors.New("the account has no such link")
	}
	return nil
}

// pairs reads "a=b,c=d".
func pairs(text string) map[string]string {
	out := map[string]string{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		out[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return out
}

func readProxy(text string) (people.Proxy, error) {
	var p people.Proxy
	for name, value := range pairs(text) {
		var err error
		switch name {
		case "Patient":
			p.Patient = value
		case "relatedPerson":
			p.RelatedPerson = value
		case "authority":
			p.Authority = access.Capacity(value)
		case "document":
			p.Document = value
		case "from":
			p.From, err = time.Parse(time.DateOnly, value)
		case "to":
			p.To, err = time.Parse(time.DateOnly, value)
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			return p, fmt.Errorf("--proxy: %s=%s is not understood; see `trellis user --help`", name, value)
		}
	}
	return p, nil
}

func readPosition(text string) (people.Position, error) {
	p := people.Position{Kind: people.KindPractitioner}
	for name, value := range pairs(text) {
		switch name {
		case "org":
			p.Organization = value
		case "practitioner":
			p.Practitioner = value
		case "role":
			p.PractitionerRole = value
		case "kind":
			p.Kind = value
		default:
			return p, fmt.Errorf("--staff: %s=%s is not understood; see `trellis user --help`", name, value)
		}
	}
	return p, nil
}

// setPassword reads a password, or makes one and shows it.
func (c *userCommand) setPassword(ctx context.Context, _ *store.Store, who *people.User) error {
	password, err := c.readPassword()
	if err != nil {
		return err
	}
	made := password == ""
	if made {
		if password, err = people.NewPassword(); err != nil {
			return err
		}
	}
	if who.Password, err = people.NewHasher(1).Hash(ctx, password); err != nil {
		return err
	}
	if made {
		_, err = fmt.Fprintf(c.stdout, "login     %s\npassword  %s\n", who.Login, password)
	}
	return err
}

func (c *userCommand) readPassword() (string, error) {
	var text []byte
	var err error
	switch c.password {
	case "":
		return "", nil
	case "-":
		if text, err = c.typed(); err != nil {
			return "", err
		}
	default:
		if text, err = os.ReadFile(c.password); err != nil {
			return "", err
		}
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimRight(line, "\r")
	return line, people.CheckPassword(line)
}

// typed reads standard input; from a terminal without showing what is typed.
func (c *userCommand) typed() ([]byte, error) {
	if f, ok := c.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		if _, err := fmt.Fprint(c.stdout, "Password: "); err != nil {
			return nil, err
		}
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.stdout)
		return text, err
	}
	return io.ReadAll(io.LimitReader(c.stdin, 1<<10))
}

// setTOTP makes a second factor and shows it, or takes it away.
func (c *userCommand) setTOTP(_ context.Context, _ *store.Store, who *people.User) error {
	if c.remove {
		who.TOTP = ""
		return nil
	}
	var err error
	if who.TOTP, err = people.NewTOTP(); err != nil {
		return err
	}
	address, err := people.TOTPAddress(who.TOTP, "Trellis", who.Login)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.stdout, "secret   %s\naddress  %s\n", who.TOTP, address)
	return err
}

// code prints the code of this moment: for trying out, not for carrying a second factor in a shell.
func (c *userCommand) code(ctx context.Context, s *store.Store) error {
	who, err := c.find(ctx, s)
	if err != nil {
		return err
	}
	if who.TOTP == "" {
		return errors.New("the account has no second factor; it is set up at the first sign-in, or by `trellis user totp`")
	}
	code, err := people.TOTPCode(who.TOTP, time.Now())
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, code)
	return err
}

func (c *userCommand) list(ctx context.Context, s *store.Store) error {
	all, err := s.Users(ctx)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprint(tw, "login\tname\tis\tsecond factor\tstate\n")
	for _, u := range all {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", u.Login, u.Name, strings.Join(kindsOf(u), ", "), yesNo(u.TOTP != ""), state(u))
	}
	return tw.Flush()
}

func kindsOf(u people.User) []string {
	var out []string
	for kind, n := range map[string]int{"patient": len(u.Patients), "proxy": len(u.Proxies), "staff": len(u.Positions)} {
		if n > 0 {
			out = append(out, kind)
		}
	}
	for _, r := range u.Roles {
		out = append(out, string(r))
	}
	slices.Sort(out)
	return out
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func state(u people.User) string {
	if u.Disabled {
		return "disabled"
	}
	return "enabled"
}

func (c *userCommand) show(ctx context.Context, s *store.Store) error {
	u, err := c.find(ctx, s)
	if err != nil {
		return err
	}
	tw := tabwriter.NewWriter(c.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "login\t%s\nid\t%s\nname\t%s\nlanguage\t%s\nstate\t%s\npassword\t%s\nsecond factor\t%s\n",
		u.Login, u.ID, u.Name, u.Language, state(u), yesNo(u.Password != ""), yesNo(u.TOTP != ""))
	for _, id := range u.Patients {
		fmt.Fprintf(tw, "patient\tPatient/%s\n", id)
	}
	for _, p := range u.Proxies {
		fmt.Fprintf(tw, "%s of\tPatient/%s, by %q, from %s to %s\n", p.Authority, p.Patient, p.Document, dateOr(p.From, "the beginning"), dateOr(p.To, "no end"))
	}
	for _, p := range u.Positions {
		fmt.Fprintf(tw, "%s at\tOrganization/%s, Practitioner/%s\n", p.Kind, p.Organization, p.Practitioner)
	}
	for _, r := range u.Roles {
		fmt.Fprintf(tw, "role\t%s\n", r)
	}
	if u.Upstream != "" {
		fmt.Fprintf(tw, "elsewhere\t%s\n", u.Upstream)
	}
	return tw.Flush()
}

func dateOr(t time.Time, none string) string {
	if t.IsZero() {
		return none
	}
	return t.Format(time.DateOnly)
}
