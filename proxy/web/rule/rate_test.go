package rule

import (
	"strings"
	"testing"
)

func TestBadRateLimits(t *testing.T) {
	for _, c := range []struct {
		limit       RateConfig
		field, text string // of a route
	}{
		{RateConfig{Rate: "100"}, "rate_limits[0].rate", `rate "100" has no unit: did you mean 100/s, 100/m or 100/h?`},
		{RateConfig{Rate: "0/s"}, "rate_limits[0].rate", `rate "0/s" lets nothing through: give at least 1/h, or keep clients out with deny`},
		{RateConfig{Rate: "-1/s"}, "rate_limits[0].rate", `rate "-1/s" is negative: write it as 100/s`},
		{RateConfig{Rate: "1/s", Burst: -1}, "rate_limits[0].burst", "burst -1 is less than one request: give at least 1"},
		{RateConfig{Rate: "1/h", Burst: 100_000}, "rate_limits[0].burst", "burst 100000 would take more than a year to come at 1/h: 8784 is the most"},
		{RateConfig{Rate: "1/s", By: "ip"}, "rate_limits[0].by", `requests are not counted by "ip": use client, route or header:NAME`},
		{RateConfig{Rate: "1/s", By: "header:"}, "rate_limits[0].by", "the field has no name: write it as header:X-Api-Key"},
		{RateConfig{Rate: "1/s", By: "header: X-A"}, "rate_limits[0].by", `" X-A" is not the name of a field: write it as header:X-Api-Key`},
		{RateConfig{Rate: "1/s", By: "header:hOst"}, "rate_limits[0].by", "Host is what routes are for: give the hosts routes of their own, and count by route"},
		{RateConfig{Rate: "1/s", By: "service"}, "rate_limits[0].by", "a route cannot count by service: use route, or give the limit to the service"},
	} {
		err := Config{Common: Common{RateLimits: []RateConfig{c.limit}}}.Validate("/", ToService)
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok || len(joined.Unwrap()) != 1 {
			t.Errorf("%+v: %v, want one error", c.limit, err)
			continue
		}
		fault, ok := joined.Unwrap()[0].(*FieldError)
		if !ok || fault.Field() != c.field || fault.Error() != c.text {
			t.Errorf("%+v:\n got %v: %v\nwant %s: %s", c.limit, fault.Field(), fault, c.field, c.text)
		}
	}
	service := Common{RateLimits: []RateConfig{{Rate: "5/m", By: "service"}, {Rate: "5/m", By: "route"}, {Rate: "5/m", By: "all"}}}
	if err := service.Validate(); err == nil || !strings.HasSuffix(err.Error(), `"all": use client, route, service or header:NAME`) {
		t.Errorf("a service: %v", err)
	}
	for _, to := range []Leads{ToService, ToURL, ToAnswer} {
		c := Config{Common: Common{RateLimits: []RateConfig{{Rate: "5/m"}, {Rate: "1/s", Burst: 1, By: "client"}, {Rate: "7/h", By: "header:X-A"}}}}
		if to == ToAnswer {
			c.Respond = &RespondConfig{Body: "x"}
		}
		if err := c.Validate("/", to); err != nil {
			t.Errorf("good limits of a route that leads to %v: %v", to, err)
		}
	}
}
