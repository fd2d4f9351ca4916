package main

import (
	"fmt"
	"sync"
)

func main() {
	var group sync.WaitGroup
	results := make(chan int, 10)
	for i := 0; i < 10; i++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			results <- n * n
		}(i)
	}
	group.Wait()
	close(results)
	for square := range results {
		fmt.Println(square)
	}
}
