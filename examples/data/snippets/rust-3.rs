pub trait Shape {
    fn area(&self) -> f64;
}

pub struct Square {
    side: f64,
}

impl Square {
    pub fn new(side: f64) -> Option<Self> {
        (side >= 0.0).then_some(Self { side })
    }
}

impl Shape for Square {
    fn area(&self) -> f64 {
        self.side * self.side
    }
}
