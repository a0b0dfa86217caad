// Command pick keeps the records whose value contains a text or, with `field`, those whose JSON member equals it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	tidegate "tidegate/sdk"
	"tidegate/sdk/filter"
)

func init() {
	filter.Export(tidegate.Description{
		Name:    "pick",
		Version: "0.1.0",
		Summary: "Keeps the records whose value has a text in it.",
		Columns: tidegate.Value,
		Config: []tidegate.ConfigKey{
			{Name: "text", Required: true, Doc: "What to look for."},
			{Name: "field", Default: tidegate.Default(""), Doc: "A member of the JSON object in the value, which must " +
				"be a string equal to `text`. Empty: `text` stands anywhere in the value."},
			{Name: "max.bytes", Kind: tidegate.Integer, Default: tidegate.Default(65536),
				Doc: "The longest value that is not rejected."},
		},
	}, configure)
}

type pick struct {
	text     []byte
	field    string
	maxBytes int64
}

func configure(config tidegate.Config) (filter.Plugin, error) {
	p := pick{[]byte(config.Text("text")), config.Text("field"), config.Integer("max.bytes")}
	if len(p.text) == 0 {
		return nil, errors.New("`text` is empty, which would keep everything")
	}
	if p.maxBytes < 1 {
		return nil, fmt.Errorf("`max.bytes` must be above 0, and is %d", p.maxBytes)
	}
	return p, nil
}

func (p pick) FilterBatch(batch *tidegate.Batch, verdicts *tidegate.Verdicts) error {
	var kept uint64
	for record := range batch.Records {
		verdict := p.judge(record.Value())
		if verdict == tidegate.Keep {
			kept++
		}
		verdicts.Set(record.Index, verdict)
	}
	if kept > 0 {
		tidegate.Count("kept", kept)
	}
	if rejected := len(verdicts.Reasons); rejected > 0 {
		tidegate.Log(tidegate.Warn, "%d of %d values are too long", rejected, batch.Count)
	}
	return nil
}

func (p pick) judge(value []byte) tidegate.Verdict {
	switch {
	case value == nil:
		return tidegate.Drop
	case int64(len(value)) > p.maxBytes:
		return tidegate.Reject(fmt.Sprintf("the value has %d bytes, and at most %d are allowed", len(value), p.maxBytes))
	case p.field == "":
		return tidegate.KeepIf(bytes.Contains(value, p.text))
	}
	var object map[string]json.RawMessage
	var member string
	found := json.Unmarshal(value, &object) == nil && object[p.field] != nil &&
		json.Unmarshal(object[p.field], &member) == nil && object[p.field][0] == '"'
	return tidegate.KeepIf(found && member == string(p.text))
}

func main() {}
