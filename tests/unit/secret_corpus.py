"""Secrets as they stand in logs, tables and files, made anew from a seed: shapes × places; and what is none.

No secret is written down here, only its form: «…» is what must be gone, {a20} twenty letters and digits,
{h} hex, {u} capitals and digits, {w} letters, digits, _ and -, {d} digits, {b} base64, {p} a password.
"""

import random
import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

ALPHABETS = {
    "a": string.ascii_letters + string.digits,
    "h": "0123456789abcdef",
    "u": string.ascii_uppercase + string.digits,
    "w": string.ascii_letters + string.digits + "_-",
    "d": string.digits,
    "b": string.ascii_letters + string.digits + "+/",
    "l": string.ascii_lowercase,
}
NAMES = ("wilhelmina", "okonkwo", "j.lindqvist", "svc-trt01", "mariasilva", "zhangwei7")
HOSTS = ("gpubox07", "ml-node-12", "zeppelin", "dgx-a100-3", "lab42ws")
PASSWORDS = (
    "hunter2!",
    "Tr0ub4dor&3",
    "correct-horse-9",
    "p@$$w0rd77",
    "Sommer2024!",
    "qwe_RTY.123",
)

SHAPES = [
    # By the vendor's prefix
    *("«ghp_{a36}»", "«gho_{a36}»", "«github_pat_{a22}_{a59}»", "«glpat-{w20}»", "«gldt-{w20}»", "«glrt-{w20}»"),
    *("«hf_{a34}»", "«nvapi-{w64}»", "«AKIA{u16}»", "«ASIA{u16}»", "«xoxb-{d12}-{d12}-{a24}»", "«xapp-1-{u10}-{d12}-{h64}»"),
    *("«sk-{a48}»", "«sk-proj-{w48}»", "«sk-ant-api03-{w80}»", "«npm_{a36}»", "«pypi-AgEIcHlwaS5vcmc{w60}»", "«dckr_pat_{w27}»"),
    *("«AIza{w35}»", "«eyJ{a30}.eyJ{a40}.{w43}»", "«sk_live_{a24}»", "«rk_test_{a24}»", "«SG.{w22}.{w43}»", "«ya29.{w100}»"),
    *("«1//0{w60}»", "«GOCSPX-{w28}»", "«hvs.{w90}»", "«hvb.{w120}»", "«dop_v1_{h64}»", "«shpat_{h32}»", "«sq0atp-{w22}»"),
    *("«key-{h32}»", "«{h32}-us12»", "«SK{h32}»", "«lin_api_{a40}»", "«figd_{w40}»", "«rubygems_{h48}»", "«r8_{a37}»"),
    *("«gsk_{a52}»", "«glsa_{a32}_{h8}»", "«dapi{h32}»", "«pul-{h40}»", "«tskey-auth-{a16}-{a32}»", "«AGE-SECRET-KEY-1{u58}»"),
    *("«ATATT3xFfGF0{w180}»", "«ATBB{a32}»", "«PMAK-{h24}-{h34}»", "«oy2{l43}»", "«sntrys_{a90}»", "«{d10}:AA{w33}»", "«ntn_{a46}»"),
    *("«EAAA{w60}»", "«xoxp-{d11}-{d11}-{h32}»", "«$2b$12${a53}»", "«$6$saltsalt${a86}»", "«abc8Q~{w34}»"),
    # By an address
    *("https://hooks.slack.com/services/«T{u8}/B{u8}/{a24}»", "https://discord.com/api/webhooks/{d18}/«{w68}»"),
    *("https://acme.webhook.office.com/webhookb2/«{a36}@{a36}/IncomingWebhook/{h32}»", "https://api.telegram.org/bot«{d10}:AA{w33}»/send"),
    *("https://s3.amazonaws.com/b/k?X-Amz-Credential=«AKIA{u16}»%2F20261123&X-Amz-Signature=«{h64}»",),
    *("https://a.blob.core.windows.net/c?sv=2024-01-01&sig=«{a43}%3D»", "https://storage.googleapis.com/b/o?X-Goog-Signature=«{h256}»"),
    *("https://d1.cloudfront.net/x?Policy=«{b80}»&Signature=«{w80}»", "https://h.io/p?access_token=«{a40}»", "https://x.io/?api_key=«{a32}»"),
    *("DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=«{b86}==»", "Endpoint=sb://x.net/;SharedAccessKey=«{b43}=»"),
    *("https://«{n}»:«{p}»@example.org/x.git", "postgres://«{n}»:«{p}»@db/x", "mysql -u root --password=«{p}»", "redis://:«{a20}»@cache:6379"),
    *("Server=db;Database=x;User Id=sa;Password=«{p}»;", "«{n}»:«{p}»@tcp(db:3306)/x"),
    # By the name that it stands under
    *("password: «{p}»", "passwd=«{p}»", "pw=«{p}»", "pass = «{p}»", "PASS=«{p}»", "pwd: «{p}»", "passphrase: «{p}»"),
    *("--token «{a20}»", "--token=«{a20}»", "--api-key «{a20}»", "--password «{p}»", "--secret='«{a20}»'"),
    *("('api_key', '«{a20}»')", '("password", "«{p}»")', "['token', '«{a24}»']", "{'secret': '«{p}»'}", "{\"client_secret\": \"«{a30}»\"}"),
    *("<password>«{p}»</password>", "<add key=\"ApiKey\" value=\"«{a24}»\"/>", "<token type=\"x\">«{a24}»</token>"),
    *('{\\"password\\": \\"«{p}»\\"}', '{\\"token\\":\\"«{a24}»\\"}', "{\\\\\"secret\\\\\": \\\\\"«{a24}»\\\\\"}"),
    *("machine example.org login «{n}» password «{p}»", "login «{n}»\n  password «{p}»", "default login «{n}» password «{p}»"),
    *("Cookie: session=«{a32}»; theme=«{a9}»", "Set-Cookie: sid=«{a32}»; HttpOnly", "cookie: «JSESSIONID={u32}»"),
    *("Authorization: Bearer «{w40}»", "Authorization: Basic «{b24}»", "Authorization: token «{h40}»", "X-Api-Key: «{a32}»"),
    *("X-Auth-Token: «{h32}»", "Proxy-Authorization: Basic «{b20}»", "Private-Token: «{w20}»", "bearer «{w40}»"),
    *("AWS_SECRET_ACCESS_KEY=«{b40}»", "aws_secret_access_key = «{b40}»", "export WANDB_API_KEY=«{h40}»", "NGC_API_KEY: «{b84}»"),
    *("docker login -u x -p «{p}»", "curl -u «{n}»:«{p}» https://x.org", "sshpass -p «{p}» ssh x", "MYSQL_PWD=«{p}»", "DB_PASS=«{p}»"),
    *("client_secret = \"«{a32}»\"", "private_key: «{h64}»", "encryption_key=«{h64}»", "secret key is «{a32}»", "the password is «{p}»"),
    *("$env:TOKEN = \"«{a30}»\"", "set PASSWORD=«{p}»", "credentials: «{b32}»", "auth_token='«{a30}»'", "license_key=«{u25}»"),
    # Blocks
    *("-----BEGIN RSA PRIVATE KEY-----\n«{b64}»\n«{b64}»\n-----END RSA PRIVATE KEY-----",),
    *("-----BEGIN OPENSSH PRIVATE KEY-----\n«{b70}»\n-----END OPENSSH PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\\n«{b64}»\\n-----END PRIVATE KEY-----\\n"),
    *("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n«{b64}»\n«{b64}»\n=abcd\n-----END PGP PRIVATE KEY BLOCK-----",),
    *("PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nComment: «{n}»\nPrivate-Lines: 2\n«{b64}»\n«{b64}»\nPrivate-MAC: «{h40}»",),
    *("ssh-rsa «AAAAB3NzaC1yc2E{b300}» «{n}»@«{m}»", "ssh-ed25519 «AAAAC3NzaC1lZDI1NTE5{b44}» «{n}»@«{m}»"),
    # Who and where
    *("\\\\«{m}»\\share\\x", "\\\\\\\\«{m}»\\\\data", "«{n}»@«{m}»:~$ make matrix", "[«{n}»@«{m}» trt]$ ls", "ssh «{n}»@«{m}»", "scp x «{n}»@«{m}»:/tmp"),
    *("ACME\\«{n}» logged on", "rsync -a «{n}»@«{m}»:x .", "Host: «{m}»", "hostname: «{m}»", "HOSTNAME=«{m}»", "Nov 23 09:21:07 «{m}» kernel: x"),
    *("ssh -p 22 «{n}»@«{m}» uptime", "user=«{n}»", "username: «{n}»", "User: «{n}»", "USER=«{n}»", "LOGNAME=«{n}»", "nodename='«{m}»'"),
    *("/home/«{n}»/x", "C:\\Users\\«{n}»\\x", "C:/Users/«{n}»/x", "%2Fhome%2F«{n}»%2Fx", "file:///Users/«{n}»/x", "~«{n}»/models", "/mnt/c/Users/«{n}»/x"),
    *("/var/home/«{n}»", "/export/home/«{n}»", "%2FUsers%2F«{n}»", "C%3A%5CUsers%5C«{n}»%5Cx", "/nfs/home/«{n}»/y", "«{n}»@acme-corp.com"),
    *("«{m}».acme.internal", "«{m}».lan", "http://«{m}»:8080/x", "tcp://«{m}»:2375", "10.4.«17.3»1", "fd12:3456:«789a::1»"),
    *("«00:1b:44:11:3a:b7»", "«00-1B-44-11-3A-B7»", "«001b.4411.3ab7»", "machine-id: «{h32}»", "/etc/machine-id «{h32}»", "Machine ID: «{h32}»"),
    *("Serial Number : «{d13}»", "serial: «{u12}»", "S/N «{u10}»", "GPU-«{h8}-{h4}-{h4}-{h4}-{h12}»", "Boot ID: «{h32}»", "board_serial=«{u11}»"),
    # What no rule knows
    *("using «{a44}» now", "got «{b62}==» back", "x=«{a40}»", "id «{a64}»"),
]  # fmt: skip

PLACES: Mapping[str, str] = {
    "alone": "{}",
    "in a sentence": "[E] it failed with {} in stage build",
    "after a colour": "\x1b[31m{}\x1b[0m",
    "after a colour of a log": "␛[1;33m{}␛[0m",
    "quoted": '"{}"',
    "in single quotes": "arg: '{}'",
    "after a tab": "\t{}\t1",
    "at a line's end": "first\n{}\nlast",
    "with CRLF": "first\r\n{}\r\nlast",
    "in brackets": "({})",
    "after a time": "2026-11-23T09:21:07.112Z {}",
    "in a list": "- a\n- {}\n- b",
    "in a comment": "# {}",
}


def shapes(seed: int) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yields form, text and what of it must be gone."""
    random_ = random.Random(seed)

    def filled(match: re.Match[str]) -> str:
        kind, size = match[1], match[2]
        if kind == "n":
            return random_.choice(NAMES)
        if kind == "m":
            return random_.choice(HOSTS)
        if kind == "p":
            return random_.choice(PASSWORDS)
        alphabet = ALPHABETS[kind]
        body = "".join(random_.choices(alphabet, k=int(size)))
        if kind in "awb" and len(body) > 5:  # letters, capitals and digits, as all real ones have
            body = body[:2] + "aZ7" + body[5:]
        return body

    for shape in SHAPES:
        made = re.sub(r"\{([a-z])(\d*)\}", filled, shape)
        secrets = tuple(re.findall("«([^»]+)»", made))
        yield shape, made.replace("«", "").replace("»", ""), secrets


def harmless() -> list[str]:
    """Returns lines in which nothing is a secret: this project's own words, and what engines print."""
    lines: list[str] = []
    for path in sorted((ROOT / "docs").rglob("*.md")):
        if path.name not in ("security.md", "ticket.md"):  # they show forms of secrets
            lines += path.read_text("utf-8").splitlines()
    lines += (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    for path in sorted((ROOT / "containers/job").rglob("*.py")):
        lines += path.read_text("utf-8").splitlines()
    lines += ENGINES.strip().splitlines()
    return [line for line in lines if line.strip()]


ENGINES = r"""
[11/23/2026-09:21:07] [I] [TRT] [MemUsageChange] Init CUDA: CPU +13, GPU +0, now: CPU 18, GPU 431 (MiB)
[11/23/2026-09:21:07] [W] [TRT] Using kFASTER_DYNAMIC_SHAPES_0805 preview feature.
[V] [TRT] *************** Autotuning format combination: Int8(25600,1600:32,40,1) -> Int8(12800,1600:32,40,1)
[V] [TRT] /model.24/m.0/Conv + PWN(PWN(/model.24/Sigmoid), /model.24/Mul) (CaskConvolution[0x80000009]) profiling completed
[V] [TRT] Tactic Name: sm80_xmma_fprop_implicit_gemm_interleaved_i8i8_i8i32_f32_nchw_vect_c_32kcrs_vect_c_32_nchw_vect_c_32_tilesize128x64x64_stage3_warpsize2x2x1_g1_tensor16x8x32 Tactic: 0x3e2b881168d9689d Time: 0.00908
[V] [TRT] Tactic Name: turing_h1688cudnn_256x64_ldg8_relu_exp_interior_nhwc_tn_v1 Tactic: 0x0e2033f4517584d4 Time: 0.0123
2026-11-23 09:21:07.112 [E:onnxruntime:, sequential_executor.cc:516 ExecuteKernel] Non-zero status code returned while running QLinearConv node. Name:'conv_c1_quant' Status Message: bad scale
/workspace/onnxruntime/core/providers/cpu/nn/conv.cc:123 onnxruntime::Conv<float>::Compute(onnxruntime::OpKernelContext *) const
#0 0x00007f3a1c2b4a10 in nvinfer1::builder::ExecutionPlan::build() () from /usr/lib/x86_64-linux-gnu/libnvinfer.so.8
_ZN8nvinfer17builder20CalibratorImplementation10calibrateEiPKPKvRKNS_4DimsE
_ZNSt6vectorIN4onnx10TensorProtoESaIS1_EE17_M_realloc_insertIJRKS1_EEEvN9__gnu_cxx17__normal_iteratorIPS1_S3_EEDpOT_
| NVIDIA-SMI 535.161.08             Driver Version: 535.161.08   CUDA Version: 12.2     |
|   0  NVIDIA A100-SXM4-80GB          On  | 00000000:07:00.0 Off |                    0 |
libcudnn_cnn_infer.so.8.9.7 libnvinfer_plugin.so.8.6.1 libcublasLt.so.12.3.4.1
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==
nvcr.io/nvidia/tensorrt@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad
TRT-8601-EntropyCalibration2
images: 3c010a14
/model.0/conv/Conv_output_0: 3d6c3a2f
StatefulPartitionedCall/detector/feature_extractor/resnet50/conv4_block6_3_conv/Conv2D:0
tensor (1, 255, 80, 80) float32, min -12.5, max 8.25, token count 512, passes 3, pass 2 of 3
{"pass": "int8-shared-entropy", "status": "ok", "key": "value", "keys": ["a", "b"], "author": "nobody"}
pass=int8-own-entropy secretary=1 passenger=2 tokenizer=bert keyboard=us monkey=4 hockey: ice
epoch 10 loss 0.01234 lr 1e-4 user-defined layer YoloLayer_TRT host memory 1024 MB hostname unknown
std::unordered_map<std::__cxx11::basic_string<char>, int>::operator[](const key_type&)
InstructionSchedulingHeuristicsForTensorCoreMultiplication GridAnchorGeneratorPluginDynamicV2
ThisIsAQuiteLongCamelCaseIdentifierOfALayer12 model_1/lambda_1/ResizeNearestNeighbor_4__123
C:\Program Files\NVIDIA GPU Computing Toolkit\CUDA\v12.2\bin\nvcc.exe
D:\a\_work\1\s\onnxruntime\core\session\inference_session.cc
/usr/local/lib/python3.10/dist-packages/tensorrt/libnvinfer.so.8:/opt/tensorrt/lib
ssh is not installed here; --password is read from stdin; password: (hidden)
at 12:34:56.789 processed 4096 items, 00:01:02 left, ratio 16:9, 10.0.1.6 of TensorRT 10.0.1.6
Python 3.10.12 (main, Nov 20 2023, 15:14:05) [GCC 11.4.0] on linux, numpy==1.26.4
"""
