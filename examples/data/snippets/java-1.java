import java.util.ArrayList;
import java.util.List;

public class Inventory {
    private final List<String> items = new ArrayList<>();

    public void add(String item) {
        if (item == null || item.isEmpty()) {
            throw new IllegalArgumentException("item must have a name");
        }
        items.add(item);
    }

    public int size() {
        return items.size();
    }
}
