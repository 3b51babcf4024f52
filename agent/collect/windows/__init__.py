"""The collectors of Windows 10, 11 and Server. Never run on the system itself: see `powershell.py`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final

from agent.collect.windows import subjects as read
from agent.collect.windows.powershell import ask, facts
from agent.collect.windows.subjects import Subject
from agent.wire import Fact

UNIX: Final = "[DateTimeOffset]::new({0}.ToUniversalTime()).ToUnixTimeSeconds()"
"""An instant in Unix seconds."""


def _unix(value: str) -> str:
    return UNIX.format(value)


_CERTIFICATES = (
    "function d($s){{@(Get-ChildItem $s|%{{@{{Subject=$_.Subject;Issuer=$_.Issuer;"
    "Sha256=[BitConverter]::ToString([Security.Cryptography.SHA256]::Create().ComputeHash($_.RawData)).Replace('-','');"
    "NotBefore={};NotAfter={}}}}})}}; "
).format(_unix("$_.NotBefore"), _unix("$_.NotAfter"))

SUBJECTS: Final[Mapping[str, Subject]] = {
    "system": Subject(
        r"Get-ItemProperty 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion' | Select-Object CurrentBuild,UBR,DisplayVersion,"
        "ReleaseId,EditionID,InstallationType,@{n='Architecture';e={$env:PROCESSOR_ARCHITECTURE}}",
        (
            "os.family",
            "os.distribution",
            "os.version",
            "os.release",
            "os.edition",
            "os.build",
            "os.kernel",
            "os.architecture",
        ),
        read.read_system,
        "the registry, CurrentVersion",
    ),
    "device": Subject(
        "$c=Get-CimInstance Win32_ComputerSystem; $p=Get-CimInstance Win32_ComputerSystemProduct; "
        "$o=Get-CimInstance Win32_OperatingSystem; @{Name=$c.Name;Vendor=$c.Manufacturer;Model=$c.Model;"
        f"Serial=(Get-CimInstance Win32_BIOS).SerialNumber;Uuid=$p.UUID;BootedAt={_unix('$o.LastBootUpTime')}}}",
        (
            "device.hostname",
            "device.serial",
            "device.uuid",
            "device.vendor",
            "device.model",
            "device.virtual",
            "device.booted_at",
        ),
        read.read_device,
        "Win32_ComputerSystem",
    ),
    "patches": Subject(
        "$s=(New-Object -ComObject Microsoft.Update.Session).CreateUpdateSearcher(); $s.Online=$false; "
        "$u=@($s.Search('IsInstalled=0 and IsHidden=0').Updates); $a=New-Object -ComObject Microsoft.Update.AutoUpdate; "
        "@{Pending=$u.Count;Security=@($u|?{$_.MsrcSeverity -or ($_.Categories|?{$_.CategoryID -eq "
        "'0FA1201D-4330-4FA8-8AE9-B877473B6441'})}).Count;"
        f"SearchedAt={_unix('$a.Results.LastSearchSuccessDate')};InstalledAt={_unix('$a.Results.LastInstallationSuccessDate')};"
        r"Reboot=(Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\WindowsUpdate\Auto Update\RebootRequired') -or "
        r"(Test-Path 'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\RebootPending');"
        "Automatic=$a.ServiceEnabled -and $a.Settings.NotificationLevel -in 0,3,4}",
        (
            "patches.pending",
            "patches.security_pending",
            "patches.lists_updated_at",
            "patches.installed_at",
            "patches.reboot_required",
            "patches.automatic",
        ),
        read.read_patches,
        "Windows Update",
    ),
    "antivirus": Subject(
        "$d=$null; try{$m=Get-MpComputerStatus; $d=@{Enabled=$m.AMServiceEnabled -and $m.AntivirusEnabled;"
        "Realtime=$m.RealTimeProtectionEnabled;Engine=$m.AMEngineVersion;Signatures=$m.AntivirusSignatureVersion;"
        f"SignaturesAt={_unix('$m.AntivirusSignatureLastUpdated')}}}}}catch{{}}; $o=@(); "
        r"try{$o=@(Get-CimInstance -Namespace root\SecurityCenter2 AntiVirusProduct|%{@{Name=$_.displayName;State=$_.productState}})}"
        "catch{}; @{Defender=$d;Others=$o}",
        (
            "antivirus.product",
            "antivirus.running",
            "antivirus.realtime",
            "antivirus.engine_version",
            "antivirus.signatures_version",
            "antivirus.signatures_at",
        ),
        read.read_antivirus,
        "Get-MpComputerStatus, Security Center",
    ),
    "firewall": Subject(
        "@{Profiles=@(Get-NetFirewallProfile -PolicyStore ActiveStore|%{@{Name=$_.Name;Enabled=[int]$_.Enabled;"
        "Inbound=[int]$_.DefaultInboundAction}})}",
        ("firewall.product", "firewall.enabled", "firewall.input_policy"),
        read.read_firewall,
        "Get-NetFirewallProfile",
    ),
    "disk": Subject(
        "@{System=$env:SystemDrive;Profiles=(Split-Path -Qualifier $env:PUBLIC);"
        "PageFiles=@(Get-CimInstance Win32_PageFileUsage|%{Split-Path -Qualifier $_.Name});"
        "Volumes=@(Get-BitLockerVolume|%{@{Drive=$_.MountPoint;Status=[string]$_.VolumeStatus;"
        "Protection=[string]$_.ProtectionStatus}})}",
        ("disk.root_encrypted", "disk.home_encrypted", "disk.swap_encrypted", "disk.chain"),
        read.read_disk,
        "Get-BitLockerVolume",
    ),
    "boot": Subject(
        "$t=Get-CimInstance -Namespace root/cimv2/Security/MicrosoftTpm Win32_Tpm; $b=$false; try{$b=Confirm-SecureBootUEFI}catch{}; "
        "$g=Get-CimInstance -Namespace root/Microsoft/Windows/DeviceGuard Win32_DeviceGuard; "
        r"@{Firmware=(Get-ItemProperty 'HKLM:\SYSTEM\CurrentControlSet\Control').PEFirmwareType;SecureBoot=[bool]$b;"
        "Services=@($g.SecurityServicesRunning);TpmPresent=[bool]$t;TpmVersion=$t.SpecVersion}",
        ("boot.firmware", "boot.secure_boot", "boot.integrity_protection", "boot.tpm_present", "boot.tpm_version"),
        read.read_boot,
        "Confirm-SecureBootUEFI, Win32_Tpm",
    ),
    "screen": Subject(
        r"$k='Control Panel\Desktop'; @{Limit=(Get-ItemProperty "
        r"'HKLM:\SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System').InactivityTimeoutSecs;"
        r"Profiles=@(Get-ChildItem Registry::HKEY_USERS|?{$_.PSChildName -match '^S-1-5-21-[\d-]+$|^S-1-12-1-[\d-]+$'}|%{"
        r"$d=Get-ItemProperty ('Registry::'+$_.Name+'\'+$k); @{Active=$d.ScreenSaveActive;Secure=$d.ScreenSaverIsSecure;"
        "Timeout=$d.ScreenSaveTimeOut}})}",
        ("screen.lock_enabled", "screen.lock_delay"),
        read.read_screen,
        "the registry, InactivityTimeoutSecs and Control Panel",
    ),
    "users": Subject(
        "@{Members=@(Get-LocalGroupMember -SID S-1-5-32-544|%{$_.Name})}",
        ("users.administrators",),
        read.read_users,
        "Get-LocalGroupMember",
    ),
    "domain": Subject(
        "@{Status=(dsregcmd.exe /status|Out-String)}",
        ("domain.joined", "domain.kind", "domain.name", "domain.mdm_enrolled"),
        read.read_domain,
        "dsregcmd /status",
    ),
    "processes": Subject(
        "@{Paths=@(Get-CimInstance Win32_Process|%{$_.ExecutablePath}|?{$_}|Sort-Object -Unique)}",
        ("processes.executables",),
        read.read_processes,
        "Win32_Process",
    ),
    "network": Subject(
        "function p($i){(Get-Process -Id $i -ErrorAction SilentlyContinue).Path}; "
        "@{Tcp=@(Get-NetTCPConnection -State Listen|%{@{Address=$_.LocalAddress;Port=$_.LocalPort;Path=(p $_.OwningProcess)}});"
        "Udp=@(Get-NetUDPEndpoint|%{@{Address=$_.LocalAddress;Port=$_.LocalPort;Path=(p $_.OwningProcess)}});"
        "Gateways=@(Get-NetRoute|?{$_.DestinationPrefix -in '0.0.0.0/0','::/0'}|%{$_.NextHop});"
        "Servers=@(Get-DnsClientServerAddress|%{$_.ServerAddresses})}",
        (
            "network.listening",
            "network.listening_programs",
            "network.gateways",
            "network.dns_servers",
        ),
        read.read_network,
        "Get-NetTCPConnection, Get-NetRoute",
    ),
    "certificates": Subject(
        _CERTIFICATES
        + r"@{My=(d Cert:\LocalMachine\My);Root=(d Cert:\LocalMachine\Root);Shipped=@(d Cert:\LocalMachine\AuthRoot|"
        "%{$_.Sha256})}",
        ("certificates.device", "certificates.extra_roots"),
        read.read_certificates,
        "Cert:\\LocalMachine",
    ),
}


def collect(subject: Subject, *, now: float) -> dict[str, Fact]:
    """Ask one subject. Raises Unreadable."""
    return facts(subject.facts, subject.read(ask(subject.script)), subject.source, now)


COLLECTORS: Final[Mapping[str, tuple[tuple[str, ...], Callable[..., dict[str, Fact]]]]] = {
    name: (subject.facts, functools.partial(collect, subject)) for name, subject in SUBJECTS.items()
}
