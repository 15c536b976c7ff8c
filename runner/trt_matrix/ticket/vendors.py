"""What tokens of known makers look like: each begins with letters that nothing else begins with. Pure."""

_FORMS = (
    r"gh[pousr]_\w{16,}", r"github_pat_\w{20,}", r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|oas|agent|imt|ffct)-[\w-]{16,}",
    r"hf_[A-Za-z0-9]{16,}", r"nvapi-[\w-]{16,}", r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}",
    r"xox[abeprs]-[\w-]{10,}", r"xapp-\d-[\w-]{20,}", r"sk-[\w-]{20,}", r"npm_[A-Za-z0-9]{30,}", r"pypi-[\w-]{30,}",
    r"dckr_(?:pat|oat)_[\w-]{16,}", r"AIza[\w-]{30,}", r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*", r"ya29\.[\w-]{20,}",
    r"1//0[\w-]{20,}", r"GOCSPX-[\w-]{20,}", r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{10,}", r"whsec_[A-Za-z0-9+/=]{20,}",
    r"SG\.[\w-]{16,}\.[\w-]{16,}", r"hv[sbr]\.[\w-]{20,}", r"do[opr]_v1_[a-f0-9]{32,}", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{20,}",
    r"sq0(?:atp|csp|idp)-[\w-]{20,}", r"EAAA[\w-]{50,}", r"key-[0-9a-f]{32}(?![0-9a-f])", r"[0-9a-f]{32}-us\d{1,2}(?!\w)",
    r"(?:SK|AC)[0-9a-f]{32}(?![0-9a-f])", r"lin_(?:api|oauth)_\w{30,}", r"figd_[\w-]{30,}", r"rubygems_[0-9a-f]{40,}",
    r"r8_[A-Za-z0-9]{30,}", r"gsk_[A-Za-z0-9]{40,}", r"gl(?:sa|c)_[\w+/=]{30,}", r"dapi[0-9a-f]{32}(?![0-9a-f])",
    r"pul-[0-9a-f]{40}(?![0-9a-f])", r"tskey-\w+-[\w-]{20,}", r"AGE-SECRET-KEY-1[A-Z0-9]{50,}", r"ATATT3x[\w=-]{50,}",
    r"ATBB[A-Za-z0-9]{24,}", r"PMAK-[0-9a-f]{24}-[0-9a-f]{30,}", r"oy2[a-z0-9]{43}(?![a-z0-9])", r"sntry[su]_[\w+/=-]{40,}",
    r"\d{8,10}:AA[\w-]{32,34}(?![\w-])", r"(?:ntn|secret)_[A-Za-z0-9]{40,}", r"[\w~.-]{3}8Q~[\w~.-]{31,34}", r"NRAK-[A-Z0-9]{27}",
    r"phc_[A-Za-z0-9]{30,}", r"wandb_v1_\w{30,}", r"\$(?:2[aby]|apr1|[156y])\$[^\s:\"']{20,}",
)  # fmt: skip

TOKENS = "|".join(_FORMS)
