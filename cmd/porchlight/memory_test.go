package main

import (
	"testing"
	"testing/fstest"
)

func TestMemoryLimit(t *testing.T) {
	const mem512 = "MemTotal:         437500 kB\nMemFree:  1 kB\n"
	tests := []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"nothing is known", nil, 0},
		{"board of 512 MB", map[string]string{"proc/meminfo": mem512}, 437500 * 1024 / 100 * 40},
		{"tiny machine", map[string]string{"proc/meminfo": "MemTotal: 65536 kB\n"}, leastMemory},
		{"garbage", map[string]string{"proc/meminfo": "MemTotal: many kB\n", "proc/self/cgroup": "no\n::\n"}, 0},
		{"version 2", map[string]string{
			"proc/meminfo": "MemTotal: 24684092 kB\n", "proc/self/cgroup": "0::/system.slice/porchlight.service\n",
			"sys/fs/cgroup/system.slice/porchlight.service/memory.max": "268435456\n",
		}, 268435456 / 100 * 60},
		{"version 2, memory.high is lower", map[string]string{
			"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n", "sys/fs/cgroup/a/memory.high": "104857600\n",
		}, 104857600 / 100 * 60},
		{"version 2, set for a group above", map[string]string{
			"proc/self/cgroup": "0::/a/b/c\n", "sys/fs/cgroup/a/b/c/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "209715200\n",
		}, 209715200 / 100 * 60},
		{"version 2 in a container that sees its own group as the top", map[string]string{
			"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/memory.max": "314572800\n",
		}, 314572800 / 100 * 60},
		{"version 1", map[string]string{
			"proc/self/cgroup": "12:cpu,cpuacct:/x\n5:memory:/x\n0::/\n", "sys/fs/cgroup/memory/x/memory.limit_in_bytes": "268435456\n",
		}, 268435456 / 100 * 60},
		{"version 1 without a limit", map[string]string{
			"proc/meminfo": mem512, "proc/self/cgroup": "5:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 437500 * 1024 / 100 * 40},
		{"the machine has less than the group allows", map[string]string{
			"proc/meminfo": mem512, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4294967296\n",
		}, 437500 * 1024 / 100 * 40},
		{"the group allows less than is needed", map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1048576\n",
		}, leastMemory},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := memoryLimit(root); got != tt.want {
				t.Errorf("%d, want %d", got, tt.want)
			}
		})
	}
}
