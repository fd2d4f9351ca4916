from collections import Counter
from pathlib import Path


def word_counts(path: Path) -> Counter[str]:
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            counts.update(word.lower() for word in line.split())
    return counts


if __name__ == "__main__":
    for word, count in word_counts(Path("notes.txt")).most_common(10):
        print(f"{count:6d} {word}")
