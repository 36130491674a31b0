package lock

import "errors"

// What a caller decides on.
var (
	// ErrName: the name of the lock is not allowed.
	ErrName = errors.New("the name of the lock is not allowed")
	// ErrHeld: Options.Try was set, and the lock is not free.
	ErrHeld = errors.New("the lock is not free")
	// ErrKind: others use the lock with another number of permits.
	ErrKind = errors.New("the lock is in use in another way")
	// ErrFull: too many wait for the lock already.
	ErrFull = errors.New("too many wait for the lock")
	// ErrUpgrade: another holder waits to be the only one, and neither could ever be.
	ErrUpgrade = errors.New("another holder of the lock waits to hold it alone")
	// ErrLost: the right to hold has ended, or is about to.
	ErrLost = errors.New("the lock is lost")
	// ErrClosed: the Manager was closed.
	ErrClosed = errors.New("the locks are closed")
)

// errAgain: the place in the queue is lost, and a new one has to be taken.
var errAgain = errors.New("the place in the queue is lost")
