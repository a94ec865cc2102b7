#!/usr/bin/env bash
# set-up.sh: makes a Debian 12 machine able to check, build, link
# and (under Wine) run Rust for x86_64-pc-windows-gnu, using only Debian's signed
# packages and the crate registry. Idempotent; safe to run at the top of every CI job.
#
#   set-up.sh [--no-wine] [--no-clippy] [--selftest]
#
# Afterwards:   $DIR/wcargo check|build|test|run|clippy|nextest ...   cargo for Windows; tests run under Wine
#               $DIR/wine-warm / wine-run X.EXE ... / wine-stop       around a test run
# Root is needed only when a package is missing. Nothing under /usr is written
# except by apt. DIR defaults to ~/.cache/lanparty-win (override: LANPARTY_WIN_DIR).
set -euo pipefail

TARGET=x86_64-pc-windows-gnu
DIR=${LANPARTY_WIN_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/lanparty-win}
WINE=1 CLIPPY=1 SELFTEST=0
for a in "$@"; do case $a in
    --no-wine) WINE=0 ;; --no-clippy) CLIPPY=0 ;; --selftest) SELFTEST=1 ;;
    *) echo "unknown option $a" >&2; exit 2 ;; esac; done
say() { printf '[win-target %3ds] %s\n' "$SECONDS" "$*"; }

mkdir -p "$DIR"
exec 9>"$DIR/.lock"; flock 9

# ---- 1. packages ----------------------------------------------------------
# rustc-web: Debian security's current rustc (built for Firefox/Chromium backports),
# the only rustc here whose exact std source (rust-web-src) is also available.
apt_updated=0
apt_update() { [ $apt_updated = 1 ] || { apt-get -qq update; apt_updated=1; }; }
installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }
pkgs=(gcc-mingw-w64-x86-64-win32)
# Ubuntu and other releases of Debian have no rustc-web: there rustup brings the std.
RUSTUP=0
if ! installed rustc-web; then
    apt_update || say "apt-get update failed (not root?)"
    apt-cache show rustc-web >/dev/null 2>&1 || RUSTUP=1
fi
[ $RUSTUP = 0 ] && pkgs+=(rustc-web)
[ $RUSTUP = 0 ] && [ $CLIPPY = 1 ] && pkgs+=(cargo-web rust-web-clippy)
[ $WINE = 1 ] && pkgs+=(wine64)
missing=()
for p in "${pkgs[@]}"; do installed "$p" || missing+=("$p"); done
if [ ${#missing[@]} -gt 0 ]; then
    say "apt: installing ${missing[*]}"
    apt_update
    DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
        -o DPkg::Lock::Timeout=600 install "${missing[@]}" >"$DIR/apt.log" 2>&1 ||
        { tail -20 "$DIR/apt.log" >&2; exit 1; }
fi
RUSTC=/usr/bin/rustc
use_rustup() {
    command -v rustup >/dev/null || { say "this system has no rustc-web, and there is no rustup: https://rustup.rs"; exit 1; }
    rustup target add "$TARGET"
    local sysroot; sysroot=$(rustup run "$(rustup show active-toolchain | cut -d' ' -f1)" rustc --print sysroot)
    rm -rf "$TC"; mkdir -p "$TC/bin"
    ln -s "$sysroot/lib" "$TC/lib"
    for tool in rustc rustdoc; do ln -s "$sysroot/bin/$tool" "$TC/bin/$tool"; done
    say "std for $TARGET by rustup"
}
read_version() {
    ver=$(dpkg-query -W -f '${Version}' rustc-web)      # 1.96.0+dfsg1-1~deb12u2
    up=${ver%%+*}; up=${up%%-*}                         # 1.96.0
    want="$ver $TARGET schema3"                         # bump when the recipe below changes
}
TC=$DIR/toolchain
if [ $RUSTUP = 1 ]; then
    use_rustup
else
    read_version
    say "rustc-web $ver"
fi

# ---- 2. a toolchain directory with a std built for Windows ------------------
if [ $RUSTUP = 0 ] && [ "$(cat "$TC/.stamp" 2>/dev/null)" != "$want" ]; then
    say "building std for $TARGET from rust-web-src $ver"
    B=$DIR/build; rm -rf "$TC" "$B"
    mkdir -p "$TC/bin" "$TC/lib/rustlib/$TARGET/lib" "$B/deb" "$B/stub/src"
    ln -s /usr/lib/rustlib/x86_64-unknown-linux-gnu "$TC/lib/rustlib/x86_64-unknown-linux-gnu"
    ln -s /usr/lib/rustlib/etc "$TC/lib/rustlib/etc"
    printf '#!/bin/sh\nexec %s --sysroot "%s" "$@"\n' "$RUSTC" "$TC" >"$TC/bin/rustc"
    printf '#!/bin/sh\nexec /usr/bin/rustdoc --sysroot "%s" "$@"\n' "$TC" >"$TC/bin/rustdoc"
    chmod +x "$TC/bin/rustc" "$TC/bin/rustdoc"
    # only library/ of the 342 MB package; apt-get download checks the archive's signature chain
    apt_update
    if ! (cd "$B/deb" && apt-get -qq -o APT::Sandbox::User=root download "rust-web-src=$ver"); then
        # the archive has moved on since rustc-web was installed here: follow it
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
            -o DPkg::Lock::Timeout=600 install "${pkgs[@]}" >"$DIR/apt.log" 2>&1
        read_version; say "now rustc-web $ver"
        (cd "$B/deb" && apt-get -qq -o APT::Sandbox::User=root download "rust-web-src=$ver")
    fi
    mkdir -p "$TC/lib/rustlib/src/rust"
    dpkg-deb --fsys-tarfile "$B"/deb/rust-web-src_*.deb |
        tar -x -C "$TC/lib/rustlib/src/rust" --strip-components=4 "./usr/src/rustc-$up/library"
    cat >"$B/stub/Cargo.toml" <<'T'
[package]
name = "stub"
version = "0.0.0"
edition = "2021"
[profile.release]
panic = "unwind"
[workspace]
T
    : >"$B/stub/src/lib.rs"
    # As rustc's own bootstrap does: panic_abort and compiler_builtins are never built to
    # unwind (else a panic="abort" profile does not link); bitcode so that lto= works.
    cat >"$B/rustc" <<R
#!/bin/sh
case " \$* " in
    *" --crate-name panic_abort "*|*" --crate-name compiler_builtins "*) set -- "\$@" -C panic=abort ;;
esac
exec "$TC/bin/rustc" "\$@"
R
    chmod +x "$B/rustc"
    # RUSTC_BOOTSTRAP only here: project builds run as plain stable.
    (cd "$B/stub" && env -u CARGO_BUILD_TARGET -u RUSTC_WRAPPER -u CARGO_ENCODED_RUSTFLAGS \
        RUSTC="$B/rustc" RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes CARGO_TARGET_DIR="$B/target" \
        cargo build -q --release --target $TARGET \
        -Z build-std=std,panic_abort,proc_macro,test -Z build-std-features=panic-unwind,backtrace)
    cp "$B"/target/$TARGET/release/deps/*.rlib "$TC/lib/rustlib/$TARGET/lib/"
    rm -f "$TC/lib/rustlib/$TARGET/lib"/libstub-*.rlib
    rm -rf "$B"
    echo "$want" >"$TC/.stamp"
fi

# ---- 3. Wine ----------------------------------------------------------------
PFX=$DIR/wineprefix
if [ $WINE = 1 ]; then
    cat >"$DIR/wine-run" <<W
#!/bin/sh
# cargo runner: wine-run FOO.EXE ARGS...
export WINEPREFIX="\${WINEPREFIX:-$PFX}" WINEARCH=win64 WINEDEBUG="\${WINEDEBUG:--all}"
export WINEDLLOVERRIDES="mscoree,mshtml=;winedbg.exe=d;winemenubuilder.exe=d"
export WINESERVER=/usr/lib/wine/wineserver64
unset DISPLAY WAYLAND_DISPLAY
exec /usr/lib/wine/wine64 "\$@"
W
    chmod +x "$DIR/wine-run"
    cat >"$DIR/wine-warm" <<W
#!/bin/sh
# keep wineserver and its services up, detached from our stdio (nextest would report them as leaks)
export WINEPREFIX="\${WINEPREFIX:-$PFX}"
/usr/lib/wine/wineserver64 -p120 </dev/null >/dev/null 2>&1 || true
exec "$DIR/wine-run" wineboot </dev/null >/dev/null 2>&1
W
    # One that has ended by itself needs no stopping.
    printf '#!/bin/sh\nWINEPREFIX="${WINEPREFIX:-%s}" /usr/lib/wine/wineserver64 -k || :\n' "$PFX" >"$DIR/wine-stop"
    chmod +x "$DIR/wine-warm" "$DIR/wine-stop"
    wwant="$(dpkg-query -W -f '${Version}' wine64) 1"
    if [ "$(cat "$PFX/.stamp" 2>/dev/null)" != "$wwant" ]; then
        say "creating Wine prefix (wine64 ${wwant% *})"
        rm -rf "$PFX"
        "$DIR/wine-run" wineboot -i >/dev/null 2>&1
        WINEPREFIX=$PFX /usr/lib/wine/wineserver64 -w
        S32=$PFX/drive_c/windows/system32
        # Debian's Wine copies 600 MB of DLLs into the prefix; link them instead.
        W=/usr/lib/x86_64-linux-gnu/wine/x86_64-windows
        for f in "$S32"/*; do
            b=${f##*/}
            if [ -f "$f" ] && [ ! -L "$f" ] && [ -f "$W/$b" ] && [ "$(stat -c %s "$f")" = "$(stat -c %s "$W/$b")" ]; then
                ln -sfn "$W/$b" "$f"
            fi
        done
        # Wine 8 lacks bcryptprimitives.dll, which every Rust std binary imports.
        if [ ! -e "$W/bcryptprimitives.dll" ]; then
            cat >"$DIR/bcryptprimitives.c" <<'C'
#include <windows.h>
#include <ntsecapi.h>
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n)
{
    while (n) {
        ULONG k = n > 0x1000000 ? 0x1000000 : (ULONG)n;
        if (!RtlGenRandom(p, k)) return FALSE;
        p += k; n -= k;
    }
    return TRUE;
}
C
            x86_64-w64-mingw32-gcc -O2 -s -shared -o "$S32/bcryptprimitives.dll" "$DIR/bcryptprimitives.c" -ladvapi32
        fi
        echo "$wwant" >"$PFX/.stamp"
    fi
fi

# ---- 4. the wrapper the project calls ----------------------------------------
cat >"$DIR/wcargo" <<W
#!/bin/sh
# wcargo check|build|test|run|clippy|nextest ... : cargo for $TARGET
export RUSTC="$TC/bin/rustc" RUSTDOC="$TC/bin/rustdoc" CARGO_BUILD_TARGET=$TARGET
# never share target/ with the other rustc (build scripts and proc macros would be rebuilt at each switch)
root=\$(env -u RUSTC -u CARGO_BUILD_TARGET cargo locate-project --workspace --message-format plain 2>/dev/null) && root=\${root%/*} || root=.
export CARGO_TARGET_DIR="\${CARGO_WIN_TARGET_DIR:-\$root/target/win}"
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER="$DIR/wine-run"
case \$1 in clippy) export SYSROOT="$TC"; [ $RUSTUP = 1 ] || export PATH="/usr/bin:\$PATH";; esac
exec cargo "\$@"
W
chmod +x "$DIR/wcargo"

# ---- 5. self-test -------------------------------------------------------------
if [ $SELFTEST = 1 ]; then
    say "self-test"
    T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
    mkdir -p "$T/src"
    printf '[package]\nname="t"\nversion="0.0.0"\nedition="2024"\n[workspace]\n' >"$T/Cargo.toml"
    cat >"$T/src/main.rs" <<'R'
fn main() { println!("hello from {}", std::env::consts::OS) }
#[test] fn ok() { assert!(cfg!(windows)) }
#[test] fn unwinds() { assert!(std::panic::catch_unwind(|| panic!()).is_err()) }
R
    (cd "$T" && "$DIR/wcargo" check -q && "$DIR/wcargo" build -q)
    [ $CLIPPY = 1 ] && (cd "$T" && "$DIR/wcargo" clippy -q -- -D warnings)
    if [ $WINE = 1 ]; then
        (cd "$T" && [ "$("$DIR/wcargo" run -q | tr -d '\r')" = "hello from windows" ] && "$DIR/wcargo" test -q)
        "$DIR/wine-stop" || true
    fi
    say "self-test ok"
fi
say "ready: $DIR/wcargo  ($(du -sh "$DIR" | cut -f1) in $DIR)"
