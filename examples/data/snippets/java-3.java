package example.account;

public class Account {
    private long balance;

    public synchronized void deposit(long amount) {
        if (amount <= 0) {
            throw new IllegalArgumentException("amount must be positive");
        }
        balance += amount;
    }

    @Override
    public String toString() {
        return String.format("Account[balance=%d]", balance);
    }
}
