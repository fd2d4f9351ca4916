import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

public final class Lengths {
    public static void main(String[] args) {
        Map<Integer, Long> counts = Stream.of(args)
            .collect(Collectors.groupingBy(String::length, Collectors.counting()));
        for (Map.Entry<Integer, Long> entry : counts.entrySet()) {
            System.out.println(entry.getKey() + ": " + entry.getValue());
        }
    }
}
