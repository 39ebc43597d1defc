#!/usr/bin/env bash
# The folder that all nodes of a cloud's cluster share, and its copy in a bucket. Run as the user that runs Ray.
#   share.sh head s3://BUCKET/PATH | gs://BUCKET/PATH    exports /mnt/shared, and copies it to the bucket each minute
#   share.sh worker HEAD_IP                              mounts it
# A study's ledger is appended to and locked, which a bucket can do neither of: so it lies on the head's disk, and the
# bucket holds a copy for the day when the head is gone. Both commands may be run again.
set -euo pipefail
shared=${SHARED:-/mnt/shared}

install_package() {
    if ! dpkg -s "$1" >/dev/null 2>&1; then
        # A fresh node may still be at its own first updates, which hold the lock.
        sudo apt-get -o DPkg::Lock::Timeout=600 update -qq
        sudo DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 install -y -qq "$1"
    fi
}

case ${1:-} in
head)
    bucket=${2:?which bucket? s3://NAME/PATH or gs://NAME/PATH}
    case $bucket in
    s3://*) put=(aws s3 cp) copy=(aws s3 sync --only-show-errors) ;;
    gs://*) put=(gcloud storage cp) copy=(gcloud storage rsync --recursive --no-user-output-enabled) ;;
    *)
        echo "bucket must begin with s3:// or gs://, got $bucket" >&2
        exit 2
        ;;
    esac
    # A wrong bucket is found out now, and not on the day that its copy is needed.
    "${put[@]}" - "$bucket/.qar" <<<"$(date)"
    install_package nfs-kernel-server
    sudo mkdir -p "$shared"
    sudo chown "$(id -u):$(id -g)" "$shared"
    # What is here is newer than its copy: only an empty folder, that of a new head, is filled.
    if [ -z "$(ls -A "$shared")" ]; then "${copy[@]}" "$bucket" "$shared"; fi
    mkdir -p "$shared/studies" "$shared/data"
    # To every address, since no port but SSH is open to any outside the cluster.
    echo "$shared *(rw,sync,no_subtree_check)" | sudo tee /etc/exports.d/qar.exports >/dev/null
    sudo exportfs -ra
    # A copy of a study that runs may name checkpoints that it lacks; such trials go back to the one before, or anew.
    sudo tee /etc/cron.d/qar >/dev/null <<CRON
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin
* * * * * $(id -un) flock -n /tmp/qar-copy.lock ${copy[*]} $shared $bucket 2>&1 | logger -t qar-copy
CRON
    ;;
worker)
    head=${2:?address of the head?}
    install_package nfs-common
    sudo mkdir -p "$shared"
    # hard: while the head is away, a trial waits and does not fail.
    mountpoint -q "$shared" || sudo mount -t nfs4 -o hard "$head:$shared" "$shared"
    ;;
*)
    echo "usage: share.sh head BUCKET | share.sh worker HEAD_IP" >&2
    exit 2
    ;;
esac
