package shapes

import "math"

// Shape is anything that covers an area.
type Shape interface {
	Area() float64
}

type Circle struct{ Radius float64 }

type Rectangle struct{ Width, Height float64 }

func (c Circle) Area() float64 { return math.Pi * c.Radius * c.Radius }

func (r Rectangle) Area() float64 { return r.Width * r.Height }
