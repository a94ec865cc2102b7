; The installer of the client for Windows, made on Linux by `cargo xtask installer`.
; VERSION, EXE, LICENCES and OUT are given on makensis' command line.
;
; It brings the program and an uninstaller that removes everything it made. It opens no firewall port: the client permits its own
; adapter alone, while it runs, and takes that back. The service is opt-in, because it needs to know its room:
;   lanparty-client-win-setup.exe /SERVICE="--relay relay.example.net:8443 --room ROOM1"

Unicode true
; A 64-bit program in a 64-bit installer: an older Windows refuses both by itself.
Target amd64-unicode
!include "FileFunc.nsh"
!include "LogicLib.nsh"

!define PRODUCT "lanparty client"
!define KEY "Software\Microsoft\Windows\CurrentVersion\Uninstall\lanparty-client-win"
!define CLASS "SYSTEM\CurrentControlSet\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}"

Name "${PRODUCT} ${VERSION}"
OutFile "${OUT}"
InstallDir "$PROGRAMFILES64\lanparty"
RequestExecutionLevel admin
SetCompressor /SOLID lzma
ShowInstDetails show

VIProductVersion "${VERSION}.0"
VIAddVersionKey "ProductName" "${PRODUCT}"
VIAddVersionKey "FileDescription" "Installer of the ${PRODUCT}"
VIAddVersionKey "FileVersion" "${VERSION}"
VIAddVersionKey "ProductVersion" "${VERSION}"
VIAddVersionKey "LegalCopyright" "MIT or Apache-2.0"

Page directory
Page instfiles
UninstPage uninstConfirm
UninstPage instfiles

Var Service
Var Found
; 0 when a service was there and has been stopped.
Var WasRunning

Function .onInit
    SetRegView 64
    ${GetParameters} $0
    ${GetOptions} $0 "/SERVICE=" $Service
FunctionEnd

; Sets $Found to 1 when this machine has a TAP-Windows6 adapter, under either name of its driver.
Function FindTap
    StrCpy $Found 0
    StrCpy $1 0
    loop:
        EnumRegKey $2 HKLM "${CLASS}" $1
        StrCmp $2 "" done
        ReadRegStr $3 HKLM "${CLASS}\$2" "ComponentId"
        ; StrCmp takes no notice of capital letters.
        StrCmp $3 "tap0901" found
        StrCmp $3 "root\tap0901" found
        IntOp $1 $1 + 1
        Goto loop
    found:
        StrCpy $Found 1
    done:
FunctionEnd

; The user's own copy of the driver's installer, when it lies beside this one.
Function OfferTap
    FindFirst $4 $5 "$EXEDIR\tap-windows*.exe"
    FindClose $4
    ${If} $5 != ""
        MessageBox MB_YESNO|MB_ICONQUESTION "The ${PRODUCT} needs the TAP-Windows6 driver, and this machine has none.$\n$\nRun $5, which lies beside this installer?" /SD IDNO IDNO without
        ExecWait '"$EXEDIR\$5"'
        Return
    ${EndIf}
    without:
    DetailPrint "This machine has no TAP-Windows6 adapter. OpenVPN's installer has the driver as an option: https://openvpn.net/community-downloads/"
    MessageBox MB_OK|MB_ICONINFORMATION "The ${PRODUCT} needs the TAP-Windows6 driver, and this machine has none.$\n$\nOpenVPN's installer has it as an option:$\nhttps://openvpn.net/community-downloads/" /SD IDOK
FunctionEnd

; The service takes everything back before it ends, and so long Windows lets nobody write its program.
Function AwaitEnd
    StrCpy $1 0
    again:
        ClearErrors
        FileOpen $0 "$INSTDIR\lanparty-client-win.exe" a
        IfErrors 0 ended
        IntOp $1 $1 + 1
        IntCmp $1 60 given_up
        Sleep 500
        Goto again
    ended:
        FileClose $0
    given_up:
FunctionEnd

Section "Program"
    SetOutPath "$INSTDIR"
    ; One that runs cannot be replaced.
    ${If} ${FileExists} "$INSTDIR\lanparty-client-win.exe"
        nsExec::ExecToLog '"$SYSDIR\sc.exe" stop lanparty-client'
        Pop $WasRunning
        Call AwaitEnd
    ${EndIf}
    File "/oname=lanparty-client-win.exe" "${EXE}"
    File "/oname=LICENSE-MIT.txt" "${LICENCES}/LICENSE-MIT"
    File "/oname=LICENSE-APACHE.txt" "${LICENCES}/LICENSE-APACHE"
    WriteUninstaller "$INSTDIR\uninstall.exe"
    WriteRegStr HKLM "${KEY}" "DisplayName" "${PRODUCT}"
    WriteRegStr HKLM "${KEY}" "DisplayVersion" "${VERSION}"
    WriteRegStr HKLM "${KEY}" "InstallLocation" "$INSTDIR"
    WriteRegStr HKLM "${KEY}" "UninstallString" '"$INSTDIR\uninstall.exe"'
    WriteRegStr HKLM "${KEY}" "QuietUninstallString" '"$INSTDIR\uninstall.exe" /S'
    WriteRegDWORD HKLM "${KEY}" "NoModify" 1
    WriteRegDWORD HKLM "${KEY}" "NoRepair" 1
    Call FindTap
    ${If} $Found == 0
        Call OfferTap
    ${EndIf}
    ${If} $Service != ""
        nsExec::ExecToLog '"$INSTDIR\lanparty-client-win.exe" --service install $Service'
        Pop $0
        ${If} $0 != 0
            SetErrorLevel 1
            DetailPrint "The service was not installed; the program was."
        ${EndIf}
    ${ElseIf} $WasRunning == "0"
        nsExec::ExecToLog '"$SYSDIR\sc.exe" start lanparty-client'
        Pop $0
    ${EndIf}
SectionEnd

Section "un.Program"
    SetRegView 64
    nsExec::ExecToLog '"$INSTDIR\lanparty-client-win.exe" --service uninstall'
    Pop $0
    ; What a run that crashed has left behind.
    nsExec::ExecToLog '"$INSTDIR\lanparty-client-win.exe" --undo'
    Pop $0
    Delete "$INSTDIR\lanparty-client-win.exe"
    Delete "$INSTDIR\LICENSE-MIT.txt"
    Delete "$INSTDIR\LICENSE-APACHE.txt"
    Delete "$INSTDIR\uninstall.exe"
    RMDir "$INSTDIR"
    DeleteRegKey HKLM "${KEY}"
SectionEnd
