// One member of a group, as a process: see Member.java. franz-go speaks the consumer protocol where the broker does.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	arguments := map[string]string{}
	for _, argument := range os.Args[1:] {
		key, value, _ := strings.Cut(argument, "=")
		arguments[key] = value
	}
	var mutex sync.Mutex
	held := map[string]bool{}
	tell := func(partitions map[string][]int32, has bool) {
		mutex.Lock()
		defer mutex.Unlock()
		for topic, indexes := range partitions {
			for _, index := range indexes {
				name := fmt.Sprintf("%s:%d", topic, index)
				if has {
					held[name] = true
				} else {
					delete(held, name)
				}
			}
		}
		names := make([]string, 0, len(held))
		for name := range held {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Println("has", strings.Join(names, ","))
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(arguments["bootstrap.servers"]),
		kgo.ConsumerGroup(arguments["group.id"]),
		kgo.ConsumeTopics(arguments["topic"]),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, added map[string][]int32) { tell(added, true) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { tell(lost, false) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) { tell(lost, false) }),
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	got := 0
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		if count := fetches.NumRecords(); count > 0 {
			got += count
			fmt.Println("got", got)
		}
	}
	client.Close()
	fmt.Println("left")
}
