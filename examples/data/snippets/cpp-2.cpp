#include <memory>
#include <stdexcept>

template <typename T>
class Ring {
public:
    explicit Ring(std::size_t capacity) : slots_(new T[capacity]), capacity_(capacity) {}

    void push(const T& value) {
        if (size_ == capacity_) throw std::length_error("ring is full");
        slots_[(head_ + size_++) % capacity_] = value;
    }

    std::size_t size() const noexcept { return size_; }

private:
    std::unique_ptr<T[]> slots_;
    std::size_t capacity_, head_ = 0, size_ = 0;
};
