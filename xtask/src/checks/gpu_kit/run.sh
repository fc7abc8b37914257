#!/usr/bin/env bash
# What RA-Rec wants to know of a GPU, in order of worth and within a number of seconds. `cargo xtask gpu-kit` packs this
# script with all that it reads; it needs bash, the usual small programs and no network.
#
#   ./run.sh                     on CUDA
#   KIT_BACKEND=cpu ./run.sh     a rehearsal on the processor, with smaller sizes
#
#   OUT            the folder of results (./out): all.json and summary.txt, both rewritten after every part
#   KIT_PARTS      the folder of one file per part (OUT)
#   KIT_SECONDS    the whole time (540)
#   KIT_BACKEND    cuda, wgpu or cpu (cuda)
#   KIT_PYTHON     the Python that has PyTorch (python3)
#   KIT_LIMIT_part the seconds of one part, such as KIT_LIMIT_contracts=20
set -u
export LC_ALL=C

kit=$(cd "$(dirname "$0")" && pwd)
backend=${KIT_BACKEND:-cuda}
total=${KIT_SECONDS:-540}
out=${OUT:-$PWD/out}
python=${KIT_PYTHON:-python3}

stop() {
    echo "error: $*" >&2
    exit 1
}

case $backend in cuda | wgpu | cpu) ;; *) stop "KIT_BACKEND=$backend: choose cuda, wgpu or cpu" ;; esac
case $total in '' | *[!0-9]*) stop "KIT_SECONDS=$total: a whole number of seconds is needed" ;; esac
for program in awk date env grep gzip mktemp sed tail timeout tr; do
    command -v "$program" >/dev/null || stop "$program is needed and not on the PATH; install it (coreutils, gawk, grep, gzip, sed)"
done
mkdir -p "$out" "${KIT_PARTS:-$out}" || stop "OUT=$out: cannot be written; name another folder"
out=$(cd "$out" && pwd)
parts=$(cd "${KIT_PARTS:-$out}" && pwd)
work=$(mktemp -d) || stop "no temporary folder can be made; set TMPDIR to a folder with 300 MB free"

# --- results ---

now() { echo "${EPOCHREALTIME:-$(date +%s)}"; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.1f", b - a }'; }

# Writes stdin to the file $1, whole or not at all.
put() { cat >"$1.new" && mv -f "$1.new" "$1"; }

# Prints stdin as a JSON string: printable letters, and line breaks as \n.
json_string() {
    printf '"'
    tr -cd '\11\12\40-\176' | sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' |
        awk 'NR > 1 { printf "\\n" } { printf "%s", $0 }'
    printf '"'
}
quoted() { printf '%s' "$1" | json_string; }
tail_of() { if [ -f "$1" ]; then tail -c "$2" "$1" | json_string; else printf '""'; fi; }

done_parts=()

# Writes the file of a part: NAME GROUP STATUS WHY EXIT SECONDS LIMIT COMMAND FOUND.
record() {
    {
        printf '{\n  "name": %s,\n  "group": %s,\n  "status": %s,\n' "$(quoted "$1")" "$(quoted "$2")" "$(quoted "$3")"
        printf '  "why": %s,\n  "exit": %s,\n  "seconds": %s,\n  "limit_s": %s,\n' "$(quoted "$4")" "$5" "$6" "$7"
        printf '  "command": %s,\n  "found": %s,\n' "$(quoted "$8")" "$(quoted "$9")"
        printf '  "stdout": %s,\n  "stderr": %s\n}\n' "$(tail_of "$work/$1.out" 60000)" "$(tail_of "$work/$1.err" 6000)"
    } | put "$parts/$1.json"
    local known
    for known in "${done_parts[@]-}"; do [ "$known" != "$1" ] || break; done
    [ "$known" = "$1" ] || done_parts+=("$1")
    printf '%-18s %-8s %7s s  %s\n' "$1" "$3" "$6" "$4${4:+${9:+; }}$9" >"$work/$1.line"
    cat "$work/$1.line"
    summarize
}

summarize() {
    local name first=1
    {
        printf '[\n'
        for name in "${done_parts[@]}"; do
            [ $first = 1 ] || printf ',\n'
            first=0
            cat "$parts/$name.json"
        done
        printf ']\n'
    } | put "$out/all.json"
    for name in "${done_parts[@]}"; do cat "$work/$name.line"; done | put "$out/summary.txt"
}

# --- parts ---

child=
finish() {
    echo
    echo "== after $SECONDS s of $total"
    cat "$out/summary.txt" 2>/dev/null
    echo "results: $out/all.json, $out/summary.txt; one file per part in $parts"
    rm -rf "$work"
}
killed() {
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
    [ -z "${current:-}" ] || record "$current" "$group" killed "run.sh was stopped from outside" 143 "$(since "$begun")" 0 "" ""
    finish
    exit 143
}
trap killed TERM INT HUP

group=
group_end=0
# Starts the group NAME with at most this many SECONDS.
begin() {
    group=$1
    group_end=$((SECONDS + $2))
    echo "== $group: at most $2 s"
}

# Parts that a group had no time for; they are run at the end if the whole has.
later=()
# A text that a part must print to count as done.
must=

# Runs NAME with at most LIMIT seconds: TITLE is what the command is called, then the command itself. The time of the group
# and of the whole end it sooner, less 4 seconds to kill it and to write its file.
part() {
    local name=$1 limit=$2 title=$3 wanted=$must own left exit_status status why
    must=
    own=KIT_LIMIT_${name//-/_}
    limit=${!own:-$limit}
    left=$((total - SECONDS - 4))
    if [ "$left" -lt 2 ]; then
        record "$name" "$group" skipped "no time left" null 0 0 "$title" ""
        return
    fi
    if [ $((group_end - SECONDS)) -lt 2 ]; then
        later+=("must=$(printf %q "$wanted"); part $(printf '%q ' "$@")")
        record "$name" "$group" skipped "the group's time is over; put off to the end" null 0 0 "$title" ""
        return
    fi
    [ "$limit" -le $((group_end - SECONDS)) ] || limit=$((group_end - SECONDS))
    [ "$limit" -le "$left" ] || limit=$left
    shift 3
    current=$name
    begun=$(now)
    timeout -k 2 "$limit" "$@" >"$work/$name.out" 2>"$work/$name.err" </dev/null &
    child=$!
    # Of a crash the shell itself would tell.
    wait "$child" 2>/dev/null
    exit_status=$?
    child=
    current=
    case $exit_status in
    0) status=ok why= ;;
    124 | 137) status=killed why="it ran past $limit s" ;;
    12[67]) status=failed why="it cannot be started: $(tail -n 1 "$work/$name.err")" ;;
    *) status=failed why=$(problem "$name" "$exit_status") ;;
    esac
    if [ $status = ok ] && [ -n "$wanted" ] && ! grep -q "$wanted" "$work/$name.out"; then
        status=failed why="it printed no line like $wanted: $(grep -m 1 -i "${backend}" "$work/$name.out")"
    fi
    record "$name" "$group" "$status" "$why" "$exit_status" "$(since "$begun")" "$limit" "$title" "$(found "$name")"
}

# Records a part that is not run, and why.
leave_out() { record "$1" "$group" skipped "$2" null 0 0 "" ""; }

# The line of an error, or the last one.
problem() {
    local line
    line=$(grep -E '^error: |panicked' "$work/$1.err" | tail -n 1)
    [ -n "$line" ] || line=$(grep -v '^ *$' "$work/$1.err" | tail -n 1)
    [ "$2" -le 128 ] || line="it crashed with signal $(($2 - 128))${line:+; its last line: $line}"
    printf '%s' "${line:-exit status $2, and no message}" | cut -c 1-300
}

# The figures of a part in a few words, by what it printed.
found() {
    local file="$work/$1.out"
    case $1 in
    bench-*)
        # A list of figures, or an object that holds one.
        grep -oE '"(name|wall_s)": *("[^"]*"|[0-9.eE+-]+)' "$file" | awk -F '": *' '
            /^"name/ { gsub(/"/, "", $2); name = $2 }
            /^"wall_s/ { printf "%s%s %.4g ms wall", more, name, 1000 * $2; more = ", " }'
        ;;
    golden-*)
        awk -F '[:,]' '/"passed"/ { if ($2 ~ /true/) passed++; else failed++ }
            /"worst"/ { if ($2 ~ /null/) worst = "unbounded"; else if (worst != "unbounded" && $2 + 0 > worst + 0) worst = $2 + 0 }
            END { if (passed + failed) {
                if (worst != "unbounded") worst = sprintf("%.3f", worst)
                printf "%d passed, %d failed, largest error %s of what is allowed", passed, failed, worst } }' "$file"
        ;;
    contracts*) awk '/^ok / { kept++ } /^FAIL/ { broken++ } END { if (kept + broken) printf "%d of %d kept", kept, kept + broken }' "$file" ;;
    tiny* | *-small) rates "$work/$1-run/report.json" 'hr@10' | awk -F '\t' '{ printf "%s%s %s", more, $1, $2; more = ", " }' ;;
    quickstart*) compared "$work/$1-run/report.json" ;;
    pytorch*) awk 'END { if (NR) printf "%d figures", NR }' "$file" ;;
    *) grep -m 1 "^$backend " "$file" || tail -n 1 "$file" ;;
    esac
}

# Prints the rows of a report, each with a metric, apart by a tab. Slices of a row have names but no kind.
rates() {
    [ -f "$1" ] || return 0
    tr '\n' ' ' <"$1" | grep -oE "\"name\": *\"[^\"]*\", *\"kind\"|\"$2\": *[0-9.eE+-]+" | awk -F '": *' '
        /"kind"$/ { split($0, piece, "\""); name = piece[4] }
        !/"kind"$/ && name != "" { printf "%s\t%.4f\n", name, $2; name = "" }'
}

# Prints HR@100 of a report beside that of the same rows in the CPU's published one.
compared() {
    rates "$root/expected/quickstart.json" 'hr@100' >"$work/expected"
    rates "$1" 'hr@100' | awk -F '\t' -v file="$work/expected" '
        BEGIN { while ((getline line < file) > 0) { split(line, field, "\t"); cpu[field[1]] = field[2] } }
        { printf "%s%s %s (CPU %s)", NR > 1 ? ", " : "HR@100: ", $1, $2, $1 in cpu ? cpu[$1] : "-" }'
}

# --- what is there ---

root=$work/kit
mkdir "$root"
(cd "$kit" && cp -R bin data docs expected models ra-idmodels ra-llm tiny xtask "$root/" 2>/dev/null)
unpacked() {
    case $1 in
    *.gz) gzip -dc "$1" ;;
    *) xz -dc "$1" 2>/dev/null || "$python" -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1" ;;
    esac
}
find "$root" -name '*.gz' -o -name '*.xz' >"$work/packed"
while read -r file; do
    unpacked "$file" >"${file%.?z}" || stop "$file: cannot be unpacked; is the disk full, or are xz and Python missing?"
    rm "$file"
done <"$work/packed"
[ -f "$root/bin/xtask" ] || stop "$kit/bin: has no program; carry the whole folder that gpu-kit wrote"
chmod +x "$root"/bin/*
cd "$root" || exit 1

# Folders that may hold CUDA's headers in include/ or its libraries.
cuda_folders() {
    [ -z "${CUDA_PATH:-}" ] || echo "$CUDA_PATH"
    local nvcc folder
    nvcc=$(command -v nvcc) && dirname "$(dirname "$(readlink -f "$nvcc")")"
    for folder in /usr/local/cuda /usr/local/cuda-* /opt/cuda; do [ ! -d "$folder" ] || echo "$folder"; done
    timeout 20 "$python" -c '
import glob, os, sys
# Triton, which comes with PyTorch, has the headers that PyTorch itself does without.
for names in (("nvidia", "*"), ("triton", "backends", "nvidia")):
    for place in sys.path:
        for folder in sorted(glob.glob(os.path.join(place, *names))):
            if os.path.isdir(folder): print(folder)' 2>/dev/null
    [ ! -f /usr/include/cuda_fp16.h ] || echo /usr
}

has_headers() { [ -f "$1/include/cuda_fp16.h" ] && [ -f "$1/include/cuda_bf16.h" ] && [ -f "$1/include/crt/mma.h" ]; }

# Some kernels also include what has a folder of its own, CCCL.
has_all() { has_headers "$1" && { [ -f "$1/include/cccl/nv/target" ] || [ -f "$1/include/nv/target" ]; }; }

# Sets `cuda`, a folder with all headers, and `nvrtc`, the library of the same folder if it has one.
find_cuda() {
    local folder library header
    cuda_folders | awk '!seen[$0]++' >"$work/cuda_folders"
    cuda= nvrtc=
    while read -r folder; do
        if [ -z "$cuda" ] && has_all "$folder"; then cuda=$folder; fi
    done <"$work/cuda_folders"
    if [ -z "$cuda" ]; then
        # Packages of pip spread the headers over folders: those of the folder with most come first.
        mkdir -p "$work/cuda/include"
        {
            while read -r folder; do if has_headers "$folder"; then echo "$folder"; fi; done <"$work/cuda_folders"
            cat "$work/cuda_folders"
        } >"$work/header_folders"
        while read -r folder; do
            for header in "$folder"/include/*; do
                [ -e "$work/cuda/include/${header##*/}" ] || ln -s "$header" "$work/cuda/include/" 2>/dev/null
            done
        done <"$work/header_folders"
        if has_headers "$work/cuda"; then cuda=$work/cuda; fi
    fi
    { [ -z "$cuda" ] || echo "$cuda"; cat "$work/cuda_folders"; } >"$work/nvrtc_folders"
    while read -r folder; do
        for library in "$folder"/lib64/libnvrtc.so* "$folder"/lib/libnvrtc.so* "$folder"/lib/x86_64-linux-gnu/libnvrtc.so* \
            "$folder"/targets/*/lib/libnvrtc.so*; do
            if [ -z "$nvrtc" ] && [ -f "$library" ]; then nvrtc=$library; fi
        done
    done <"$work/nvrtc_folders"
}

libraries=${LD_LIBRARY_PATH:-}
add_library() { libraries=$1${libraries:+:$libraries}; }

cuda= nvrtc=
if [ "$backend" = cuda ]; then
    # Where containers put the driver's libraries, if the system does not look there itself.
    driver=$(ldconfig -p 2>/dev/null | awk '/libcuda\.so\.1/ { print $NF; exit }')
    for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/wsl/lib; do
        if [ -z "$driver" ] && [ -e "$folder/libcuda.so.1" ]; then driver=$folder/libcuda.so.1; add_library "$folder"; fi
    done
    [ -z "$libraries" ] || export LD_LIBRARY_PATH=$libraries
    find_cuda
    if [ -n "$nvrtc" ]; then
        # Packages of pip have no libnvrtc.so, only libnvrtc.so.13.
        mkdir -p "$work/lib"
        ln -s "$nvrtc" "$work/lib/libnvrtc.so"
        add_library "$(dirname "$nvrtc")"
        add_library "$work/lib"
    fi
    echo "driver:  ${driver:-not found (libcuda.so.1)}"
    echo "headers: ${cuda:-not found (cuda_fp16.h, cuda_bf16.h and crt/mma.h); looked in $(tr '\n' ' ' <"$work/cuda_folders")}"
    echo "nvrtc:   ${nvrtc:-not found (libnvrtc.so)}"
fi

# Compiled kernels are kept by the driver, and every part is a process of its own.
export CUDA_CACHE_PATH=$work/kernels CUDA_CACHE_MAXSIZE=1073741824
environment=("RA_REC_ROOT=$root" "HF_HUB_OFFLINE=1")
[ -z "$cuda" ] || environment+=("CUDA_PATH=$cuda")
[ -z "$libraries" ] || environment+=("LD_LIBRARY_PATH=$libraries")

# Runs a command of the packed program as a part: NAME LIMIT ARGUMENTS.
program=xtask
slow=1
[ "$backend" != cpu ] || slow=2
ours() {
    local name=$1 limit=$(($2 * slow))
    shift 2
    part "$name" "$limit" "$program $*" env "${environment[@]}" "$root/bin/$program" "$@"
}

# Runs a recipe as a part, on a back end: NAME LIMIT BACKEND RECIPE SETTINGS.
recipe() {
    local name=$1 limit=$2 on=$3 what=$4
    shift 4
    ours "$name" "$limit" run "$what" --backend "$on" --out "$work/$name-run" "$@"
}

# --- the machine ---

group=machine
{
    echo "kit: $(grep -s '"commit"' "$kit/kit.json")"
    echo "backend $backend, $total s; driver ${driver:-none}; headers ${cuda:-none}; nvrtc ${nvrtc:+$(readlink -f "$nvrtc")}"
    uname -srm
    grep -m 1 'model name' /proc/cpuinfo 2>/dev/null
    echo "cores $(nproc 2>/dev/null)"
    [ "$backend" = cpu ] || timeout 15 nvidia-smi 2>&1
} >"$work/machine.out"
card=
[ "$backend" = cpu ] || card=$(timeout 15 nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2>/dev/null)
record machine machine ok "" 0 0 0 "" "$card"

small=
[ "$backend" != cpu ] || small="too large for a processor"
# What CUDA's tensor cores do with f32.
rounding=f32
[ "$backend" != cuda ] || rounding=tf32
lm_cases=ra-llm/tests/golden

# --- (a) does it compute, and is it right? ---

begin works 120
must="^$backend "
ours device 40 doctor
ours golden-lm 60 verify $lm_cases --json --backend "$backend" --precision $rounding
recipe tiny 60 "$backend" tiny
ours contracts 80 contracts $lm_cases --backend "$backend"
ours golden-id 40 verify ra-idmodels/tests/golden --json --backend "$backend" --precision $rounding

# --- (b) how fast is it, beside PyTorch? ---

bench() { # NAME LIMIT BENCH PRECISION
    ours "bench-$1" "$2" bench "$3" --json --backend "$backend" --precision "$4"
}

begin speed 240
if [ -n "$small" ]; then
    for name in many-f32 many-bf16; do leave_out "bench-$name" "many-pooled is $small"; done
    bench rank 60 rank-fewer-items f32
else
    bench many-f32 45 many-pooled f32
    bench many-bf16 40 many-pooled bf16
    bench rank 40 rank-64 f32
fi
leave_out bench-rank-bf16 "RA-Rec ranks in f32 alone; PyTorch's bf16 is among the figures of pytorch"
if timeout 20 "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' 2>/dev/null; then
    on=cuda
    [ "$backend" = cuda ] || on=cpu
    part pytorch 100 "card.py $on" "$python" "$root/docs/lab/peers/card.py" $on --seconds 92
else
    leave_out pytorch "$python has no PyTorch, so nothing is measured beside it; KIT_PYTHON names another Python"
fi
bench sasrec 30 sasrec-softmax f32
bench hybrid 30 minilm-hybrid f32
bench hybrid-bf16 30 minilm-hybrid bf16
bench text 20 minilm-text f32
bench text-bf16 20 minilm-text bf16
bench align 30 align-two f32

# --- (c) does a real run end where the CPU's ends? ---

begin quickstart 180
if [ ! -d models/minilm ] || [ ! -d data/ml-100k ]; then
    leave_out quickstart "packed without data and model (--without-data)"
elif [ "$backend" = cpu ]; then
    recipe quickstart-small 88 cpu quickstart --set train.steps=4 --set id.train.epochs=1 --set prompt.titles=1 \
        --set data.curate.budget=60 --set eval.users=60 --set eval.select_users=60
else
    recipe quickstart 176 "$backend" quickstart
fi

# --- (d) coarser matrices; (e) the same card through Vulkan ---

begin formats "$total"
for format in f16 bf16; do
    ours "golden-$format" 50 verify $lm_cases --json --backend "$backend" --precision $format
    recipe "tiny-$format" 40 "$backend" tiny --set lm.precision=$format
done
if [ -n "$small" ]; then leave_out bench-many-f16 "many-pooled is $small"; else bench many-f16 40 many-pooled f16; fi
for feature in kernel-fusion tuned; do leave_out "$feature" "a feature of the build: it needs another program"; done
begin vulkan "$total"
if [ -f bin/xtask-wgpu ] && [ "$backend" = cuda ]; then
    program=xtask-wgpu
    ours golden-wgpu 50 verify $lm_cases --json --backend wgpu
    recipe tiny-wgpu 50 wgpu tiny
    ours bench-many-wgpu 60 bench many-pooled --json --backend wgpu
    ours bench-rank-wgpu 60 bench rank-64 --json --backend wgpu
    program=xtask
else
    leave_out wgpu "no program with WGPU is in the kit (--wgpu), or KIT_BACKEND is not cuda"
fi

# --- what was put off, and the CPU of this machine ---

begin "later" "$total"
for again in "${later[@]-}"; do eval "$again"; done
if [ "$backend" != cpu ] && [ -d models/minilm ] && [ -d data/ml-100k ]; then
    recipe quickstart-cpu 240 cpu quickstart
fi
finish
