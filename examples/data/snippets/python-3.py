from dataclasses import dataclass, field


@dataclass
class Stack:
    """Last in, first out."""

    items: list[int] = field(default_factory=list)

    def push(self, value: int) -> None:
        self.items.append(value)

    def pop(self) -> int:
        if not self.items:
            raise IndexError("the stack is empty")
        return self.items.pop()
