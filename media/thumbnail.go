package media

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"porchlight/media/thumb"
	"porchlight/server/matrix"
)

// Thumbnail makes a smaller picture of an item. ok is false if the item is no larger than
// wanted, and is to be served as it is. The errors are M_INVALID_PARAM for a size that
// makes no sense, M_UNKNOWN (400) for what is no picture, M_TOO_LARGE for one that is too
// large to decode. Only one is made at a time, since that takes memory.
func (k *Keeper) Thumbnail(ctx context.Context, i Item, want thumb.Size) (picture []byte, contentType string, ok bool, err error) {
	if want.Width < 1 || want.Height < 1 {
		return nil, "", false, matrix.InvalidParam("width and height have to be at least 1")
	}
	want.Width, want.Height = min(want.Width, thumb.MaxSide), min(want.Height, thumb.MaxSide)
	select {
	case k.drawing <- struct{}{}:
		defer func() { <-k.drawing }()
	case <-ctx.Done():
		return nil, "", false, ctx.Err()
	}
	picture, contentType, err = thumb.Make(k.Open(i), want)
	switch {
	case err == nil:
		return picture, contentType, true, nil
	case errors.Is(err, thumb.ErrSmallEnough):
		return nil, "", false, nil
	case errors.Is(err, thumb.ErrTooLarge):
		return nil, "", false, matrix.TooLarge(err.Error())
	case errors.Is(err, thumb.ErrNoPicture):
		return nil, "", false, matrix.Unknown(http.StatusBadRequest, err.Error())
	}
	return nil, "", false, fmt.Errorf("thumbnail of %s: %w", i.URI(), err)
}
