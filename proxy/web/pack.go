package web

import (
	"tripod/proxy/web/message"
	"tripod/proxy/web/rule"
)

// packing is the compression of an answer's content. What the encoder gives is gathered here, since it uses its memory again at once.
type packing struct {
	encoder *rule.Encoder
	out     []byte
}

func (p *packing) reset() {
	if p.encoder != nil {
		p.encoder.Discard()
	}
	p.encoder, p.out = nil, p.out[:0]
}

// Write gathers what the encoder gives.
func (p *packing) Write(b []byte) (int, error) {
	p.out = append(p.out, b...)
	return len(b), nil
}

// pack decides whether the answer's content is compressed, and changes its fields accordingly. It returns the length that is left to tell.
func (x *exchange) pack(fields []message.Field, content bool) ([]message.Field, int64) {
	length := x.res.Length
	if !x.rules.Compresses() || !content && x.req.Method != "HEAD" {
		return fields, length
	}
	e, varies := x.rules.Choose(acceptEncoding(x.req.Fields), x.res.Status, length, fields)
	if !varies {
		return fields, length
	}
	if e != rule.Identity && content {
		if x.packing.encoder = x.engine.packer.Encoder(e, &x.packing); x.packing.encoder == nil {
			e = rule.Identity // too many are at work
		}
	}
	fields = rule.Encode(fields, e, &x.vars)
	if e != rule.Identity {
		length = message.Unknown
	}
	return fields, length
}

// acceptEncoding is what the client takes, of one line mostly.
func acceptEncoding(fields []message.Field) string {
	all, n := "", 0
	for _, f := range fields {
		if f.Kind == message.AcceptEncoding {
			if n++; n == 1 {
				all = f.Value
			} else {
				all += "," + f.Value
			}
		}
	}
	return all
}

// passPacked sends what the encoder has given so far, if that is much or all.
func (x *exchange) passPacked(all bool) error {
	out := x.packing.out
	if len(out) == 0 || !all && len(out) < bufferSize {
		return nil
	}
	x.packing.out = out[:0]
	x.bytes += int64(len(out))
	if err := x.client.write(out); err != nil {
		return &clientError{err}
	}
	if err := x.client.flush(); err != nil { // before its memory is used again
		return &clientError{err}
	}
	return nil
}

// endPacked ends the compressed content.
func (x *exchange) endPacked() error {
	if err := x.packing.encoder.Close(); err != nil {
		return err
	}
	out := x.packing.out
	x.bytes += int64(len(out))
	if err := x.client.write(out); err != nil {
		return &clientError{err}
	}
	return nil
}
