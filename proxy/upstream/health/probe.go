package health

import (
	"context"
	"regexp"
)

// Probe asks servers in the way of one Config. It may be used by many goroutines at a time.
type Probe struct {
	config Config
	status statusSet
	body   *regexp.Regexp // nil if any content will do
	fault  error          // why nobody can be asked
}

// Compile returns the check, with the defaults, as it is carried out. The checks of a configuration that Validate refuses fail, and say why.
func (c Config) Compile() *Probe {
	p := &Probe{config: *c.WithDefaults(), fault: c.Validate()}
	if p.fault != nil {
		return p
	}
	p.status, _ = statuses(c.Status)
	if c.Body != "" {
		p.body, p.fault = regexp.Compile(c.Body)
	}
	return p
}

// Config is what the probe was made of, with the defaults.
func (p *Probe) Config() Config { return p.config }

// Ask asks the target once. An error says in few words why it is not well; a DownError among them comes from its agent.
func (p *Probe) Ask(ctx context.Context, t Target) (Verdict, error) {
	if p.fault != nil {
		return Verdict{}, p.fault
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.Timeout)
	defer cancel()
	t = t.at(p.config.Port)
	var verdict Verdict
	var err error
	switch p.config.Type {
	case TCP:
		err = p.askTCP(ctx, t)
	case TLS:
		err = p.askTLS(ctx, t)
	case GRPC:
		err = p.askGRPC(ctx, t)
	case Agent:
		verdict, err = p.askAgent(ctx, t)
	case Exec:
		verdict, err = p.askCommand(ctx, t)
	default:
		if t.HTTP2 {
			err = p.askHTTP2(ctx, t)
		} else {
			err = p.askHTTP1(ctx, t)
		}
	}
	if err != nil {
		return Verdict{}, p.inWords(ctx, err)
	}
	return verdict, nil
}
