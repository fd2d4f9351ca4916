import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

public class LongestLine {
    public static void main(String[] args) throws IOException {
        String longest = "";
        try (BufferedReader reader = Files.newBufferedReader(Path.of(args[0]))) {
            String line;
            while ((line = reader.readLine()) != null) {
                if (line.length() > longest.length()) longest = line;
            }
        }
        System.out.println(longest);
    }
}
