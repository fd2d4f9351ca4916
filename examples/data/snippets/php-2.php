<?php

namespace Example;

class Cart
{
    private array $lines = [];

    public function add(string $product, int $quantity, float $price): void
    {
        $this->lines[] = ['product' => $product, 'total' => $quantity * $price];
    }

    public function total(): float
    {
        return array_sum(array_column($this->lines, 'total'));
    }
}
