package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	seen := make(map[string]int)
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		line := scanner.Text()
		seen[line]++
		if seen[line] == 2 {
			fmt.Println(line)
		}
	}
}
