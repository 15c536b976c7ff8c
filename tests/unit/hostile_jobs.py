"""What a job that means harm does, in the names of `tests.fakes.scripted_job`; run as a process and in containers."""

LINKS = [
    "os.symlink(HOST, os.path.join(RESULT, 'passes', name, 'small.npy'))",
    "os.symlink(HOST, os.path.join(RESULT, 'probe.json'))",
    "os.symlink(os.path.dirname(HOST), os.path.join(RESULT, 'passes', name, 'plugins'))",
    "os.rename(os.path.join(RESULT, 'passes', name), os.path.join(RESULT, 'away'));"
    "os.symlink(os.path.join(RESULT, 'away'), os.path.join(RESULT, 'passes', name))",
    "os.mkfifo(os.path.join(RESULT, 'passes', name, 'small.npy'))",
    "os.mkfifo(os.path.join(RESULT, 'probe.json'))",
    "os.mkdir(os.path.join(RESULT, 'passes', name, 'small.npy'))",
]


"""Statements after a pass was answered; `HOST` is a file of the host, `name` the pass."""

BAD_ANSWERS = {
    "a file name of 5,000 characters": "answer(one, outputs={'large': {'file': 'n' * 5000, 'shape': [4, 2]}})",
    "a negative dimension": "answer(one); npy('passes/fp32/large.npy', shape=(-4, -2))",
    "9,000 parentheses": "answer(one); open(os.path.join(RESULT, 'passes/fp32/large.npy'), 'wb').write("
    "b'\\x93NUMPY\\x01\\x00' + (9000).to_bytes(2, 'little') + b'(' * 9000)",
    "seconds of 1e308": "answer(one, stages={'build': 1e308, 'infer': 1e308})",
    "samples of 1e308": "answer(one, latency={'batch': 1, 'warm_up': 3, 'samples_s': [1e308] * 5})",
    "a count of 400 digits": "answer(one, latency={'batch': 10 ** 400, 'warm_up': 3, 'samples_s': [1]})",
    "no number": "write('passes/fp32/pass.json', '{\"stages\": NaN}')",
    "deep JSON": "write('passes/fp32/pass.json', '[' * 500000)",
    "200 GiB of holes": "answer(one); os.truncate(os.path.join(RESULT, 'passes/fp32/large.npy'), 200 << 30)",
    "a build without a form": "write('passes/fp32/build.json', {'scales': {'form': 'none'}});"
    "answer(one, build='build.json')",
    "a build of lists": "write('passes/fp32/build.json', {'scales': [1]}); answer(one, build='build.json')",
    "layers of lists": "write('passes/fp32/layers.json', {'schema_version': 1, 'layers': [[]]});"
    "answer(one, layers='layers.json')",
    "a cache of zeros": "write('passes/fp32/c.cache', chr(0) * 9); answer(one, cache='c.cache', build='c.cache')",
    "a graph of text": "write('passes/fp32/executed.onnx', 'x' * 100); answer(one, executed='executed.onnx')",
    "a suffix of 190": "write('passes/fp32/x.' + 's' * 190, {}); answer(one, layers='x.' + 's' * 190)",
}
"""What of fp32 is answered → how."""
