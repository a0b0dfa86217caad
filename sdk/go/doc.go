// Package tidegate is what a Tidegate plugin in Go is written against: one function for a record over the columns of a
// batch. The packages filter, router and transform below it export a plugin of their world:
//
//	func init() {
//		filter.Export(tidegate.Description{
//			Name: "only-errors", Version: "0.1.0", Summary: "Keeps what is an error.", Columns: tidegate.Value,
//		}, func(tidegate.Config) (filter.Plugin, error) {
//			return filter.Each(func(record tidegate.Record) tidegate.Verdict {
//				return tidegate.KeepIf(bytes.HasPrefix(record.Value(), []byte("ERROR")))
//			}), nil
//		})
//	}
//
//	func main() {}
//
// All there is outside the plugin's own memory is Log, Count and the configuration. The clock stands still, there are no
// files and no network, and "random" numbers are the same in every run. Goroutines run only while a call is in progress.
package tidegate
