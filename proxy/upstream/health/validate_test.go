package health

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	for _, c := range []Config{
		{}, {Type: HTTP}, {Type: TCP}, {Type: TLS}, {Type: GRPC},
		{Method: "POST", Path: "/a?b=%20c", Host: "a.test", Status: []string{"200", "204-399"}, Body: `^(ok|fine)\b`, Port: 8081},
		{Method: "HEAD", Status: []string{"599"}},
		{Type: TCP, Port: 1, Interval: time.Millisecond, Fast: time.Millisecond, Timeout: time.Hour, Rise: 1, Fall: 1, Initial: Up},
		{Type: TLS, Host: "a.test", Port: 65535, Initial: Down},
		{Type: GRPC, Service: "shop.Cart", Host: "a.test", Port: 1},
		{Type: Agent, Port: 9999, Interval: time.Second, Timeout: 5 * time.Second},
		{Type: Exec, Command: []string{"/usr/local/bin/check", "", "--quick"}},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if again := c.WithDefaults(); again.Validate() != nil || !reflect.DeepEqual(again.WithDefaults(), again) {
			t.Errorf("%+v with defaults: %+v", c, again)
		}
	}
	for _, tt := range []struct {
		config Config
		want   []string // all of it
	}{
		{Config{Type: "ftp"}, []string{`type: unknown type "ftp": use http, tcp, tls, grpc, agent or exec`}},
		{Config{Type: Agent}, []string{"port: type agent needs the port at which the agent listens"}},
		{Config{Type: Exec}, []string{"command: type exec needs a command, as in [/usr/local/bin/check, --quick]"}},
		{Config{Type: Exec, Command: []string{""}}, []string{"command: type exec needs a command, as in [/usr/local/bin/check, --quick]"}},
		{Config{Type: Exec, Command: []string{"a", "b\x00"}, Port: 1}, []string{"port: port does not go with type exec, only with http, tcp, tls, grpc or agent", "command[1]: a word of a command cannot hold a zero byte"}},
		{Config{Type: TCP, Path: "/h", Method: "POST"}, []string{"method: method does not go with type tcp, only with http", "path: path does not go with type tcp, only with http"}},
		{Config{Type: Agent, Port: 1, Body: "x", Host: "a", Status: []string{"200"}, Service: "s", Command: []string{"c"}}, []string{
			"host: host does not go with type agent, only with http, tls or grpc", "status: status does not go with type agent, only with http",
			"body: body does not go with type agent, only with http", "service: service does not go with type agent, only with grpc",
			"command: command does not go with type agent, only with exec"}},
		{Config{Service: "s"}, []string{"service: service does not go with type http, only with grpc"}},
		{Config{Port: 65536}, []string{"port: port 65536 is not between 1 and 65535"}},
		{Config{Port: -1}, []string{"port: port -1 is not between 1 and 65535"}},
		{Config{Status: []string{"200", "20", "100", "600", "300-200", "200-", "a-b", "-200", "200-300-400", "+200"}}, []string{
			`status[1]: "20" is no status of an answer: use one from 200 to 599, or a range of them as in 200-299`, `status[2]: "100" is no`, `status[3]: "600" is no`,
			`status[4]: range "300-200" has nothing in it: write 200-300`, `status[5]: "200-" is no`, `status[6]: "a-b" is no`, `status[7]: "-200" is no`,
			`status[8]: "200-300-400" is no`, `status[9]: "+200" is no`}},
		{Config{Body: "a(b"}, []string{"body: \"a(b\" is no regular expression of RE2: missing closing ): `a(b`"}},
		{Config{Body: `(?=x)`}, []string{`body: "(?=x)" is no regular expression of RE2: invalid or unsupported Perl syntax`}},
		{Config{Method: "get"}, []string{"method: methods tell large letters from small ones: write GET"}},
		{Config{Method: "GET /x"}, []string{`method: "GET /x" is no method`}},
		{Config{Method: "CONNECT"}, []string{"method: CONNECT asks for a tunnel: use GET, HEAD, OPTIONS or POST"}},
		{Config{Method: "HEAD", Body: "x"}, []string{"body: an answer to HEAD has no content that could match: use method GET"}},
		{Config{Path: "h"}, []string{`path: path "h" does not start with /`}},
		{Config{Path: "/a b"}, []string{`path: path "/a b" holds a space`}},
		{Config{Path: "/a\r\nX: y"}, []string{"path: path \"/a\\r\\nX: y\" holds a space"}},
		{Config{Path: "/ü"}, []string{`path: path "/ü" holds a space, a #, a control character or one that is not ASCII: percent-encode it`}},
		{Config{Interval: -1, Fast: -time.Second, Timeout: 5}, []string{"interval: interval -1ns is negative", "fastinter: fastinter -1s is negative", "timeout: timeout 5ns is below 1ms: give it a unit, as in 2s"}},
		{Config{Rise: -1, Fall: -2, Initial: "on"}, []string{"rise: rise -1 is negative", "fall: fall -2 is negative", `initial: unknown "on": use down or up`}},
	} {
		var got []string
		if err := tt.config.Validate(); err != nil {
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				got = append(got, e.(interface{ Field() string }).Field()+": "+e.Error())
			}
		}
		if !slices.EqualFunc(got, tt.want, strings.HasPrefix) {
			t.Errorf("%+v:\ngot  %q\nwant %q", tt.config, got, tt.want)
		}
	}
}
