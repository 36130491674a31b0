package rule

import "fmt"

// FieldError says what is wrong with one field of a configuration.
type FieldError struct{ field, text string }

func errorf(field, format string, args ...any) *FieldError {
	return &FieldError{field, fmt.Sprintf(format, args...)}
}

// Field is the path of the field, such as "basic_auth.users.alice"; empty for the whole.
func (e *FieldError) Field() string { return e.field }

// Error says what is wrong, without the field's name.
func (e *FieldError) Error() string { return e.text }

// faults collects what is wrong.
type faults []error

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, errorf(field, format, args...))
}
