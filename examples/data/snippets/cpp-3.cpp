#include <iostream>
#include <string>
#include <utility>

namespace zoo {

class Animal {
public:
    explicit Animal(std::string name) : name_(std::move(name)) {}
    virtual ~Animal() = default;
    virtual void speak() const { std::cout << name_ << " is quiet\n"; }

protected:
    std::string name_;
};

class Cat final : public Animal {
public:
    using Animal::Animal;
    void speak() const override { std::cout << name_ << " says meow\n"; }
};

}  // namespace zoo
