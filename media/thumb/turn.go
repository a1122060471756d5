package thumb

import "image"

// turn makes of a picture as it is stored the one as it is to be seen (EXIF 2.3, tag
// Orientation: 1 as it is, 2 mirrored, 3 upside down, …).
func turn(p *image.RGBA, orientation int) *image.RGBA {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	if orientation < 2 || orientation > 8 {
		return p
	}
	size := image.Pt(w, h)
	if orientation >= 5 {
		size = image.Pt(h, w)
	}
	out := image.NewRGBA(image.Rectangle{Max: size})
	for y := range size.Y {
		for x := range size.X {
			from := whence(x, y, w, h, orientation)
			copy(out.Pix[out.PixOffset(x, y):][:4], p.Pix[p.PixOffset(from.X, from.Y):][:4])
		}
	}
	return out
}

// whence is the stored pixel that is seen at x, y; w and h are of the stored picture.
func whence(x, y, w, h, orientation int) image.Point {
	switch orientation {
	case 2:
		return image.Pt(w-1-x, y)
	case 3:
		return image.Pt(w-1-x, h-1-y)
	case 4:
		return image.Pt(x, h-1-y)
	case 5:
		return image.Pt(y, x)
	case 6:
		return image.Pt(y, h-1-x)
	case 7:
		return image.Pt(w-1-y, h-1-x)
	case 8:
		return image.Pt(w-1-y, x)
	}
	return image.Pt(x, y)
}
