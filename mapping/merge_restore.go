package mapping

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Restore puts elements that the mapping does not know back into a resource that was mapped anew, where they stood. An
// element of a list goes to the list's end; one below an element that is no longer there is left out, and named in the
// second result.
func Restore(resource []byte, unknown []Unknown) ([]byte, []Unknown, error) {
	v, err := decodeJSON(resource)
	if err != nil {
		return nil, nil, err
	}
	body, ok := v.(map[string]any)
	if !ok {
		return nil, nil, errNotJSON
	}
	var left []Unknown
	ours := false
	for _, u := range unknown {
		if u.Type != body["resourceType"] || u.ID != body["id"] {
			continue
		}
		if !restore(body, strings.Split(u.Path, ".")[1:], u.Value) {
			left = append(left, u)
			continue
		}
		ours = true
	}
	if !ours {
		return resource, left, nil
	}
	out, err := json.Marshal(body)
	return out, left, err
}

func restore(at map[string]any, segs []string, value any) bool {
	if len(segs) == 0 {
		return false
	}
	name, index, indexed := cutIndex(segs[0])
	if len(segs) == 1 {
		if !indexed {
			if have, taken := at[name]; taken {
				return reflect.DeepEqual(have, value)
			}
			at[name] = value
			return true
		}
		list, _ := at[name].([]any)
		for _, have := range list {
			if reflect.DeepEqual(have, value) {
				return true
			}
		}
		at[name] = append(list, value)
		return true
	}
	if indexed {
		list, _ := at[name].([]any)
		if index >= len(list) {
			return false
		}
		next, ok := list[index].(map[string]any)
		return ok && restore(next, segs[1:], value)
	}
	next, ok := at[name].(map[string]any)
	return ok && restore(next, segs[1:], value)
}

func cutIndex(seg string) (name string, index int, indexed bool) {
	name, rest, indexed := strings.Cut(seg, "[")
	if !indexed {
		return name, 0, false
	}
	if _, err := fmt.Sscanf(rest, "%d]", &index); err != nil {
		return seg, 0, false
	}
	return name, index, true
}
