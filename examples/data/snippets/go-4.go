package main

import (
	"encoding/json"
	"log"
	"net/http"
)

type health struct {
	Status string `json:"status"`
}

func main() {
	http.HandleFunc("/health", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(health{Status: "ok"}); err != nil {
			log.Println(err)
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", nil))
}
