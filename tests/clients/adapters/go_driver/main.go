// Clients written in Go behind lines of JSON; what they say is in driven.py.
//
//	go_driver franz|sarama HOST:PORT
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
)

type request struct {
	ID         int               `json:"id"`
	Verb       string            `json:"verb"`
	Topic      string            `json:"topic"`
	Topics     []string          `json:"topics"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions"`
	Configs    map[string]string `json:"configs"`
	Codec      string            `json:"codec"`
	Idempotent bool              `json:"idempotent"`
	Sends      []send            `json:"sends"`
	Member     string            `json:"member"`
	Group      *string           `json:"group"`
	AutoCommit bool              `json:"autoCommit"`
	Start      []json.RawMessage `json:"start"`
	Offset     string            `json:"offset"`
}

// A nil slice is a null; encoding/json reads and writes byte slices as base64.
type send struct {
	Key       []byte      `json:"key"`
	Value     []byte      `json:"value"`
	Partition *int32      `json:"partition"`
	Timestamp *string     `json:"timestamp"`
	Headers   [][2]string `json:"headers"`
}

type record struct {
	Event     string      `json:"event"`
	Member    string      `json:"member"`
	Topic     string      `json:"topic"`
	Partition int32       `json:"partition"`
	Offset    string      `json:"offset"`
	Timestamp string      `json:"timestamp"`
	Key       []byte      `json:"key"`
	Value     []byte      `json:"value"`
	Headers   [][]*string `json:"headers"`
}

// Where a reader begins, resolved as far as the client has to do it.
type start struct {
	partition int32
	where     string // beginning, end, offset or time
	number    int64
}

type client interface {
	create(topic string, partitions int32, configs map[string]string) error
	configs(topic string, configs map[string]string) error
	produce(asked request) ([]int64, error)
	consume(asked request, from *start) (member, error)
	committed(group, topic string) (map[string]string, error)
	ends(topic string) (map[string]string, error)
	close()
}

type member interface {
	seek(topic string, partition int32, offset int64) error
	commit() error
	position(topic string, partition int32) int64
	leave() error
}

var (
	output  = json.NewEncoder(os.Stdout)
	saying  sync.Mutex
	members sync.Map
)

func main() {
	var library client
	var err error
	switch os.Args[1] {
	case "franz":
		library, err = newFranz(os.Args[2])
	case "sarama":
		library, err = newSarama(os.Args[2])
	default:
		err = fmt.Errorf("there is no client %s", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go answer(library, asked)
	}
}

func answer(library client, asked request) {
	value, err := run(library, asked)
	if err != nil {
		say(map[string]any{"id": asked.ID, "error": err.Error()})
	} else {
		say(map[string]any{"id": asked.ID, "value": value})
	}
	if asked.Verb == "exit" {
		os.Exit(0)
	}
}

func run(library client, asked request) (any, error) {
	switch asked.Verb {
	case "create":
		return nil, library.create(asked.Topic, asked.Partitions, asked.Configs)
	case "configs":
		return nil, library.configs(asked.Topic, asked.Configs)
	case "produce":
		return library.produce(asked)
	case "consume":
		from, err := startOf(asked.Start)
		if err != nil {
			return nil, err
		}
		joined, err := library.consume(asked, from)
		if err == nil {
			members.Store(asked.Member, joined)
		}
		return nil, err
	case "committed":
		return library.committed(*asked.Group, asked.Topic)
	case "ends":
		return library.ends(asked.Topic)
	case "exit":
		members.Range(func(_, one any) bool {
			_ = one.(member).leave()
			return true
		})
		library.close()
		return nil, nil
	}
	found, ok := members.Load(asked.Member)
	if !ok {
		return nil, fmt.Errorf("there is no member %s for %s", asked.Member, asked.Verb)
	}
	one := found.(member)
	switch asked.Verb {
	case "seek":
		offset, err := strconv.ParseInt(asked.Offset, 10, 64)
		if err != nil {
			return nil, err
		}
		return nil, one.seek(asked.Topic, asked.Partition, offset)
	case "commit":
		return nil, one.commit()
	case "position":
		return strconv.FormatInt(one.position(asked.Topic, asked.Partition), 10), nil
	case "leave":
		members.Delete(asked.Member)
		return nil, one.leave()
	}
	return nil, fmt.Errorf("there is no verb %s", asked.Verb)
}

// A start is [partition, "beginning" | "end" | offset | ["time", ms]].
func startOf(given []json.RawMessage) (*start, error) {
	if given == nil {
		return nil, nil
	}
	from := &start{}
	if err := json.Unmarshal(given[0], &from.partition); err != nil {
		return nil, err
	}
	var word string
	var time [2]json.RawMessage
	switch {
	case json.Unmarshal(given[1], &word) == nil:
		from.where = word
	case json.Unmarshal(given[1], &from.number) == nil:
		from.where = "offset"
	case json.Unmarshal(given[1], &time) == nil:
		from.where = "time"
		return from, json.Unmarshal(time[1], &from.number)
	default:
		return nil, fmt.Errorf("there is no start %s", given[1])
	}
	return from, nil
}

func say(message any) {
	saying.Lock()
	defer saying.Unlock()
	if err := output.Encode(message); err != nil {
		os.Exit(1)
	}
}

func sayAssigned(name string, partitions []int32) {
	if partitions == nil {
		partitions = []int32{}
	}
	say(map[string]any{"event": "assigned", "member": name, "partitions": partitions})
}

func sayCrash(name string, err error) {
	say(map[string]any{"event": "crash", "member": name, "error": err.Error()})
}
