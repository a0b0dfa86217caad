// Clients written in Go behind lines of JSON; what they say is in driven.py.
//
//	go_driver franz|sarama HOST:PORT
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
)

type request struct {
	ID              int                 `json:"id"`
	Verb            string              `json:"verb"`
	Topic           string              `json:"topic"`
	Topics          []string            `json:"topics"`
	Partition       int32               `json:"partition"`
	Partitions      json.RawMessage     `json:"partitions"` // how many, or which
	Total           int                 `json:"total"`
	Name            string              `json:"name"`
	Configs         map[string]string   `json:"configs"`
	Quotas          map[string]*float64 `json:"quotas"`
	QuotaClient     string              `json:"client_id"`
	Replicas        []int32             `json:"replicas"`
	Where           json.RawMessage     `json:"where"`
	Epoch           int32               `json:"epoch"`
	Transaction     string              `json:"transaction"`
	Codec           string              `json:"codec"`
	Idempotent      bool                `json:"idempotent"`
	Acks            string              `json:"acks"`
	ClientID        string              `json:"clientId"`
	OneByOne        bool                `json:"oneByOne"`
	Sends           []send              `json:"sends"`
	Member          string              `json:"member"`
	Group           *string             `json:"group"`
	AutoCommit      bool                `json:"autoCommit"`
	Start           []json.RawMessage   `json:"start"`
	Instance        *string             `json:"instance"`
	Assignor        string              `json:"assignor"`
	Protocol        string              `json:"protocol"`
	RemoteAssignor  *string             `json:"remote_assignor"`
	SessionMs       int                 `json:"session_ms"`
	Isolation       string              `json:"isolation"`
	Offset          int64               `json:"offset"`
	Offsets         map[int32]int64     `json:"offsets"`
	Producer        string              `json:"producer"`
	TransactionalID string              `json:"transactionalId"`
	TimeoutMs       int                 `json:"timeoutMs"`
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
	Offset    int64       `json:"offset"`
	Timestamp string      `json:"timestamp"`
	Key       []byte      `json:"key"`
	Value     []byte      `json:"value"`
	Headers   [][]*string `json:"headers"`
}

type replicas struct {
	Leader   int32   `json:"leader"`
	Replicas []int32 `json:"replicas"`
	ISR      []int32 `json:"isr"`
}

// Where a reader begins, resolved as far as the client has to do it.
type start struct {
	partition int32
	where     string // beginning, end, offset or time
	number    int64
}

type client interface {
	// By name, those of the admin client.
	verbs() map[string]func(request) (any, error)
	produce(asked request) ([]int64, error)
	consume(asked request, from *start) (member, error)
	open(asked request) (transactional, error)
	close()
}

type member interface {
	seek(topic string, partition int32, offset int64) error
	commit() error
	position(topic string, partition int32) int64
	leave() error
}

type transactional interface {
	begin() error
	send(asked request) ([]int64, error)
	offsets(asked request) error
	end(commit bool) error
	close() error
}

var (
	output    = json.NewEncoder(os.Stdout)
	saying    sync.Mutex
	members   sync.Map
	producers sync.Map
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
	verbs := library.verbs()
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var asked request
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		go answer(library, verbs, asked)
	}
}

func answer(library client, verbs map[string]func(request) (any, error), asked request) {
	var value any
	var err error
	if verb, ok := verbs[asked.Verb]; ok {
		value, err = verb(asked)
	} else {
		value, err = run(library, asked)
	}
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
	case "txn_open":
		opened, err := library.open(asked)
		if err == nil {
			producers.Store(asked.Producer, opened)
		}
		return nil, err
	case "exit":
		members.Range(func(_, one any) bool {
			_ = one.(member).leave()
			return true
		})
		library.close()
		return nil, nil
	}
	if found, ok := producers.Load(asked.Producer); ok {
		return ofProducer(found.(transactional), asked)
	}
	found, ok := members.Load(asked.Member)
	if !ok {
		return nil, fmt.Errorf("there is no verb %s", asked.Verb)
	}
	return ofMember(found.(member), asked)
}

func ofMember(one member, asked request) (any, error) {
	switch asked.Verb {
	case "seek":
		return nil, one.seek(asked.Topic, asked.Partition, asked.Offset)
	case "commit":
		return nil, one.commit()
	case "position":
		return one.position(asked.Topic, asked.Partition), nil
	case "leave":
		members.Delete(asked.Member)
		return nil, one.leave()
	}
	return nil, fmt.Errorf("there is no verb %s", asked.Verb)
}

func ofProducer(one transactional, asked request) (any, error) {
	switch asked.Verb {
	case "txn_begin":
		return nil, one.begin()
	case "txn_send":
		return one.send(asked)
	case "txn_offsets":
		return nil, one.offsets(asked)
	case "txn_commit":
		return nil, one.end(true)
	case "txn_abort":
		return nil, one.end(false)
	case "txn_close":
		producers.Delete(asked.Producer)
		return nil, one.close()
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

func (s send) milliseconds() (int64, error) {
	return strconv.ParseInt(*s.Timestamp, 10, 64)
}

func (s send) eachHeader(add func(name string, value []byte)) error {
	for _, pair := range s.Headers {
		value, err := base64.StdEncoding.DecodeString(pair[1])
		if err != nil {
			return err
		}
		add(pair[0], value)
	}
	return nil
}

func number[T any](given json.RawMessage) (T, error) {
	var value T
	err := json.Unmarshal(given, &value)
	return value, err
}

// "earliest", "latest", "max_timestamp", or milliseconds.
func whereOf(asked request) (string, int64) {
	if word, err := number[string](asked.Where); err == nil {
		return word, 0
	}
	ms, _ := number[int64](asked.Where)
	return "time", ms
}

func pointers(values map[string]string) map[string]*string {
	found := map[string]*string{}
	for name, value := range values {
		found[name] = &value
	}
	return found
}
