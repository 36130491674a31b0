package health

import "fmt"

// FieldError says what is wrong with one field of a check.
type FieldError struct {
	field string
	text  string
}

func errorf(field, format string, args ...any) *FieldError {
	return &FieldError{field: field, text: fmt.Sprintf(format, args...)}
}

// Field is the path of the field inside the check.
func (e *FieldError) Field() string { return e.field }

// Error says what is wrong, without the field's name.
func (e *FieldError) Error() string { return e.text }
