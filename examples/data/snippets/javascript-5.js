class EventBus {
  constructor() {
    this.listeners = {};
  }

  on(name, listener) {
    (this.listeners[name] ||= []).push(listener);
    return () => this.off(name, listener);
  }

  off(name, listener) {
    this.listeners[name] = this.listeners[name].filter((other) => other !== listener);
  }

  emit(name, ...args) {
    (this.listeners[name] || []).forEach((listener) => listener(...args));
  }
}

module.exports = EventBus;
