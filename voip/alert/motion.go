package alert

import (
	"image"
	"time"
)

// How pictures are compared: as a coarse grid of mean brightness, so that the camera's
// noise is none.
const (
	motionColumns, motionRows = 32, 24
	// motionStep is by how much a cell's brightness, of 256 levels, has to change beyond
	// what the whole picture did.
	motionStep = 10
	// motionLight is the part of the cells from which a change is one of the light.
	motionLight = 0.8
	// motionFrames is in how many pictures in a row something has to move.
	motionFrames = 2
	// sampleEvery pixels of a row, and rows, are looked at.
	sampleEvery = 2
)

// Rect is a part of the picture, in percent of its width and height.
type Rect struct{ Left, Top, Right, Bottom int }

// MotionConfig says what is a movement worth telling of.
type MotionConfig struct {
	// Share is the least part of the picture, without what is masked, that has to change.
	Share float64
	// Mask are parts that are not looked at: a tree, a street.
	Mask []Rect
	// Pause is the least time between two alarms.
	Pause time.Duration
}

// Motion watches. Make it with NewMotion; one goroutine may use it.
type Motion struct {
	cfg       MotionConfig
	look      [motionRows][motionColumns]bool
	cells     int
	last      [motionRows][motionColumns]int
	have      bool
	moving    int
	raised    bool
	lastAlarm time.Time
}

// NewMotion makes a Motion that has seen nothing.
func NewMotion(cfg MotionConfig) *Motion {
	m := &Motion{cfg: cfg}
	for row := range motionRows {
		for col := range motionColumns {
			// A cell is masked if its centre is.
			x, y := (2*col+1)*50/motionColumns, (2*row+1)*50/motionRows
			m.look[row][col] = true
			for _, r := range cfg.Mask {
				if x >= r.Left && x < r.Right && y >= r.Top && y < r.Bottom {
					m.look[row][col] = false
				}
			}
			if m.look[row][col] {
				m.cells++
			}
		}
	}
	return m
}

// Add sees the next picture and says whether to tell of a movement. Pictures should come
// some two to five times a second.
func (m *Motion) Add(pic *image.YCbCr, at time.Time) bool {
	now := grid(pic)
	before, had := m.last, m.have
	m.last, m.have = now, true
	if !had || m.cells == 0 {
		return false
	}
	share := m.changed(before, now)
	if share < m.cfg.Share || share == 0 || share >= motionLight {
		m.moving = 0
		return false
	}
	m.moving++
	if m.moving < motionFrames || m.raised && at.Sub(m.lastAlarm) < m.cfg.Pause {
		return false
	}
	m.raised, m.lastAlarm = true, at
	return true
}

// changed is the part of the cells that changed by more than the picture as a whole.
func (m *Motion) changed(before, now [motionRows][motionColumns]int) float64 {
	sum := 0
	m.each(func(row, col int) { sum += now[row][col] - before[row][col] })
	mean, n := sum/m.cells, 0
	m.each(func(row, col int) {
		if d := now[row][col] - before[row][col] - mean; d > motionStep || d < -motionStep {
			n++
		}
	})
	return float64(n) / float64(m.cells)
}

func (m *Motion) each(visit func(row, col int)) {
	for row := range motionRows {
		for col := range motionColumns {
			if m.look[row][col] {
				visit(row, col)
			}
		}
	}
}

// grid is the mean brightness of each cell.
func grid(pic *image.YCbCr) (cells [motionRows][motionColumns]int) {
	w, h := pic.Rect.Dx(), pic.Rect.Dy()
	for row := range motionRows {
		for col := range motionColumns {
			sum, n := 0, 0
			for y := row * h / motionRows; y < (row+1)*h/motionRows; y += sampleEvery {
				for x := col * w / motionColumns; x < (col+1)*w/motionColumns; x += sampleEvery {
					sum += int(pic.Y[y*pic.YStride+x])
					n++
				}
			}
			if n > 0 {
				cells[row][col] = sum / n
			}
		}
	}
	return cells
}
