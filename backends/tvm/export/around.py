"""What kernels ask of their surroundings, in LLVM's text: threads, memory, the call from C."""

from __future__ import annotations

from typing import Final

from attnc.backends.tvm.export.interface import MEMORY, Argument, Interface

TYPES: Final = {"size": "i64", "int": "i64", "float": "double", "bool": "i32", "threads": "i32"}
"""The types of numbers that are arguments."""

ONLINE: Final = {"linux": 84, "darwin": 58}
"""What `sysconf` calls the number of processors, by the system."""

MOST_THREADS: Final = 256


def system_of(triple: str) -> str:
    """The system of a triple, as far as it matters here: what it has threads by."""
    if "linux" in triple:
        return "linux"
    return "darwin" if "macos" in triple or "darwin" in triple else ""


def called(interface: Interface, inner: str) -> str:
    """The function that C calls: it gives back what `inner` puts into its first argument."""
    types = [_type(a) for a in interface.arguments]
    taken = ", ".join(f"{t} %a{i}" for i, t in enumerate(types))
    given = f"ptr %status, {taken}"
    return f"""define i32 @{interface.symbol}({taken}) {{
  %status = alloca i32
  store i32 {MEMORY}, ptr %status
  %code = call i32 @{inner}({given})
  %found = load i32, ptr %status
  ret i32 %found
}}
"""


def _type(argument: Argument) -> str:
    return TYPES.get(argument.role, "ptr")


def without_threads(machine: str) -> str:
    """Memory from the library of C; a kernel goes through its programs itself."""
    size = "i32" if "32" in machine else "i64"
    cut = "%n = add i64 %size, 64"
    if size == "i32":
        cut = "%m = add i64 %size, 64\n  %n = trunc i64 %m to i32"
    return f"""declare ptr @malloc({size})
declare void @free(ptr)
define internal ptr @attnc_new(i64 %size) {{
  {cut}
  %p = call ptr @malloc({size} %n)
  ret ptr %p
}}
define internal i64 @attnc_processors() {{
  ret i64 1
}}
{_MEMORY}"""


_MEMORY: Final = """
define internal i64 @attnc_quotient(i64 %a, i64 %b) {
  %none = icmp eq i64 %b, 0
  %turned = icmp eq i64 %b, -1
  %other = or i1 %none, %turned
  %by = select i1 %other, i64 1, i64 %b
  %quotient = sdiv i64 %a, %by
  %rest = srem i64 %a, %by
  %some = icmp ne i64 %rest, 0
  %signs = xor i64 %rest, %by
  %differ = icmp slt i64 %signs, 0
  %above = and i1 %some, %differ
  %one = zext i1 %above to i64
  %down = sub i64 %quotient, %one
  %negative = sub i64 0, %a
  %found = select i1 %turned, i64 %negative, i64 %down
  %result = select i1 %none, i64 0, i64 %found
  ret i64 %result
}
define internal ptr @attnc_take(i64 %size) {
  %p = call ptr @attnc_new(i64 %size)
  ret ptr %p
}
define internal i32 @attnc_leave(ptr %p) {
  call void @free(ptr %p)
  ret i32 0
}
define internal ptr @attnc_at(ptr %p, i64 %start) alwaysinline {
  %q = getelementptr i8, ptr %p, i64 %start
  ret ptr %q
}
define internal ptr @attnc_workspace(i32 %device, i32 %id, i64 %size, i32 %code, i32 %bits) {
  %p = call ptr @attnc_new(i64 %size)
  ret ptr %p
}
define internal i32 @attnc_no_workspace(i32 %device, i32 %id, ptr %p) {
  call void @free(ptr %p)
  ret i32 0
}
@__TVMBackendAllocWorkspace = internal constant ptr @attnc_workspace
@__TVMBackendFreeWorkspace = internal constant ptr @attnc_no_workspace
"""


def with_threads(system: str) -> str:
    """Memory, and threads of POSIX: `attnc_want` says for how many the next loop has work.

    The caller's thread is one of them; one that cannot be had is done without.
    """
    return f"""declare i32 @posix_memalign(ptr, i64, i64)
declare void @free(ptr)
declare i64 @sysconf(i32)
declare i32 @pthread_create(ptr, ptr, ptr, ptr)
declare i32 @pthread_join(ptr, ptr)
define internal ptr @attnc_new(i64 %size) {{
  %place = alloca ptr
  store ptr null, ptr %place
  %code = call i32 @posix_memalign(ptr %place, i64 64, i64 %size)
  %p = load ptr, ptr %place
  %bad = icmp ne i32 %code, 0
  %found = select i1 %bad, ptr null, ptr %p
  ret ptr %found
}}
define internal i64 @attnc_processors() {{
  %n = call i64 @sysconf(i32 {ONLINE[system]})
  %some = icmp sgt i64 %n, 0
  %found = select i1 %some, i64 %n, i64 1
  ret i64 %found
}}
@attnc_wanted = internal thread_local global i64 1
define internal i32 @attnc_want(i64 %n) {{
  store i64 %n, ptr @attnc_wanted
  ret i32 0
}}
%env = type {{ ptr, i32 }}
%job = type {{ ptr, ptr, ptr, i32, i32, ptr, i1 }}
define internal ptr @attnc_work(ptr %job) {{
  %function = load ptr, ptr %job
  %env.at = getelementptr %job, ptr %job, i32 0, i32 1
  %env = load ptr, ptr %env.at
  %data.at = getelementptr %job, ptr %job, i32 0, i32 2
  %data = load ptr, ptr %data.at
  %number.at = getelementptr %job, ptr %job, i32 0, i32 3
  %number = load i32, ptr %number.at
  %code = call i32 %function(i32 %number, ptr %env, ptr %data)
  %code.at = getelementptr %job, ptr %job, i32 0, i32 4
  store i32 %code, ptr %code.at
  ret ptr null
}}
define internal i32 @attnc_launch(ptr %function, ptr %data, i32 %tasks) {{
entry:
  %asked = load i64, ptr @attnc_wanted
  %some = icmp sgt i64 %asked, 1
  %least = select i1 %some, i64 %asked, i64 1
  %many = icmp sgt i64 %least, {MOST_THREADS}
  %n = select i1 %many, i64 {MOST_THREADS}, i64 %least
  %count = trunc i64 %n to i32
  %env = alloca %env
  store ptr null, ptr %env
  %env.count = getelementptr %env, ptr %env, i32 0, i32 1
  store i32 %count, ptr %env.count
  %jobs = alloca %job, i32 %count
  br label %begin
begin:
  %i = phi i32 [ 0, %entry ], [ %i.next, %begun ]
  %job = getelementptr %job, ptr %jobs, i32 %i
  store ptr %function, ptr %job
  %job.env = getelementptr %job, ptr %job, i32 0, i32 1
  store ptr %env, ptr %job.env
  %job.data = getelementptr %job, ptr %job, i32 0, i32 2
  store ptr %data, ptr %job.data
  %job.number = getelementptr %job, ptr %job, i32 0, i32 3
  store i32 %i, ptr %job.number
  %own = icmp eq i32 %i, 0
  br i1 %own, label %begun, label %create
create:
  %thread = getelementptr %job, ptr %job, i32 0, i32 5
  %failed = call i32 @pthread_create(ptr %thread, ptr null, ptr @attnc_work, ptr %job)
  %made = icmp eq i32 %failed, 0
  br label %begun
begun:
  %has = phi i1 [ false, %begin ], [ %made, %create ]
  %job.has = getelementptr %job, ptr %job, i32 0, i32 6
  store i1 %has, ptr %job.has
  %i.next = add i32 %i, 1
  %more = icmp slt i32 %i.next, %count
  br i1 %more, label %begin, label %end
end:
  %j = phi i32 [ 0, %begun ], [ %j.next, %ended ]
  %sum = phi i32 [ 0, %begun ], [ %sum.next, %ended ]
  %last = getelementptr %job, ptr %jobs, i32 %j
  %last.has = getelementptr %job, ptr %last, i32 0, i32 6
  %threaded = load i1, ptr %last.has
  br i1 %threaded, label %join, label %work
join:
  %last.thread = getelementptr %job, ptr %last, i32 0, i32 5
  %id = load ptr, ptr %last.thread
  %joined = call i32 @pthread_join(ptr %id, ptr null)
  br label %ended
work:
  %worked = call ptr @attnc_work(ptr %last)
  br label %ended
ended:
  %last.code = getelementptr %job, ptr %last, i32 0, i32 4
  %code = load i32, ptr %last.code
  %sum.next = or i32 %sum, %code
  %j.next = add i32 %j, 1
  %left = icmp slt i32 %j.next, %count
  br i1 %left, label %end, label %done
done:
  ret i32 %sum.next
}}
@__TVMBackendParallelLaunch = internal constant ptr @attnc_launch
{_MEMORY}"""
