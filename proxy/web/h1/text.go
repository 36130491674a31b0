package h1

import "unsafe"

// text is the bytes as a string, without a copy: good for as long as nobody changes them. This is the one place in the package where it is done.
func text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}
