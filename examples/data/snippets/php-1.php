<?php

declare(strict_types=1);

function slug(string $title): string
{
    $lower = strtolower(trim($title));
    return preg_replace('/[^a-z0-9]+/', '-', $lower) ?? '';
}

foreach (['Hello World', 'A second title'] as $title) {
    echo slug($title), PHP_EOL;
}
