"""Certificates that `holdfast ca` does not issue: with other times of validity, from the cluster's own authority."""
import datetime
import os
import subprocess

CONFIGURATION = """
[ca]
default_ca = own
[own]
database = %(work)s/index
new_certs_dir = %(work)s
certificate = %(directory)s/ca.crt
private_key = %(directory)s/ca.key
default_md = sha256
policy = any
unique_subject = no
rand_serial = yes
[any]
organizationName = supplied
commonName = supplied
[node]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = IP:127.0.0.1
"""


def issue(directory, name, cluster, begin, end):
    """DIRECTORY/NAME.crt anew, for the key that is there, valid from `begin` to `end` seconds from now."""
    work = os.path.join(directory, "work")
    os.makedirs(work, exist_ok=True)
    open(os.path.join(work, "index"), "a").close()
    configuration = os.path.join(work, "configuration")
    with open(configuration, "w") as file:
        file.write(CONFIGURATION % {"work": work, "directory": directory})

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def moment(seconds):
        now = datetime.datetime.now(datetime.timezone.utc)
        return (now + datetime.timedelta(seconds=seconds)).strftime("%Y%m%d%H%M%SZ")

    request = os.path.join(work, name + ".csr")
    openssl("req", "-new", "-key", os.path.join(directory, name + ".key"), "-subj", "/O=%s/CN=%s" % (cluster, name),
            "-out", request)
    openssl("ca", "-batch", "-notext", "-config", configuration, "-extensions", "node", "-in", request,
            "-startdate", moment(begin), "-enddate", moment(end), "-out", os.path.join(directory, name + ".crt"))
