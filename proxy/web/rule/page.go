package rule

import (
	"encoding/json"
	"strconv"
	"strings"
)

// Page is content of our own.
type Page struct{ Body, ContentType string }

// pages are the error pages of a route, by status and by 4xx and 5xx.
type pages struct {
	exact   map[int]*Page
	classes [2]*Page // 4xx, 5xx
}

// add adds the pages of one level, which go before those that are there: its 5xx before the former 503 would not be what
// anybody means who wrote a page for 503, so an exact status stays.
func (p *pages) add(config map[string]string) {
	for key, body := range config {
		page := &Page{body, sniff(body)}
		if status, err := strconv.Atoi(key); err == nil {
			if p.exact == nil {
				p.exact = make(map[int]*Page)
			}
			p.exact[status] = page
		} else {
			p.classes[key[0]-'4'] = page
		}
	}
}

// ErrorPage is the content of an error answer of tripod's own; nil if the rules have none for its status.
func (r *Rules) ErrorPage(status int) *Page {
	if r == nil {
		return nil
	}
	if p := r.pages.exact[status]; p != nil {
		return p
	}
	switch status / 100 {
	case 4, 5:
		return r.pages.classes[status/100-4]
	}
	return nil
}

// sniff finds out what content is.
func sniff(body string) string {
	switch text := strings.TrimSpace(body); {
	case strings.HasPrefix(text, "<"):
		return "text/html; charset=utf-8"
	case (strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[")) && json.Valid([]byte(text)):
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// Answer is a fixed answer. Its further fields come by EditResponse.
type Answer struct {
	Page
	Status int
}

func newAnswer(c *RespondConfig) *Answer {
	if c == nil {
		return nil
	}
	a := &Answer{Page{c.Body, c.ContentType}, c.Status}
	if a.Status == 0 {
		a.Status = 200
	}
	if a.ContentType == "" && a.Body != "" {
		a.ContentType = sniff(a.Body)
	}
	return a
}
