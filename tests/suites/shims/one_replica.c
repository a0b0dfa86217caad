/* Loaded before librdkafka where its tests run against one broker: a topic that a test wants with three replicas gets one, and
   the test goes on to what it is about. The tests stay as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>

typedef void *make_topic(const char *, int, int, char *, size_t);

void *rd_kafka_NewTopic_new(const char *topic, int partitions, int replicas, char *error, size_t error_size) {
        make_topic *make = (make_topic *)dlsym(RTLD_NEXT, "rd_kafka_NewTopic_new");
        return make(topic, partitions, replicas > 1 ? 1 : replicas, error, error_size);
}
